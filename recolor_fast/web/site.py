"""The static site: which files it has, and a folder of them that is there whole or not at all."""

import base64
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recolor_fast.machine import files
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import provenance
from recolor_fast.web import onnxruntime_web

PAGE = Path(__file__).parents[1] / "page"
SUFFIXES = frozenset({".html", ".css", ".js", ".json", ".svg", ".webmanifest"})
LEFT_OUT = frozenset({"server.js", "browser.js"})  # the page's two backends; this one is called backend.js here
LIST = "files.js"  # what the service worker keeps, and by which a folder is known as written here
UNLISTED = frozenset({"sw.js", LIST, "_headers", "NOTICE.txt"})  # not kept by the service worker
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'"
)
HEADERS = f"""# For hosts that read this file (Netlify, Cloudflare Pages); docs/web.md has it for nginx.
/*
  Content-Security-Policy: {POLICY}; frame-ancestors 'none'
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
  Cross-Origin-Resource-Policy: same-origin
  X-Content-Type-Options: nosniff
  Referrer-Policy: no-referrer
  Cache-Control: no-cache
"""
HEAD = f"""<head>
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<link rel="manifest" href="manifest.webmanifest">"""


def contents(models: list[tuple[dict[str, Any], dict[str, bytes]]], archive: Path | None) -> dict[str, bytes]:
    """The files of a site by path. `models` are those of models.rows, `archive` the npm package or None."""
    graphics = any(graph["precision"] != "int8" for row, _ in models for graph in row["graphs"].values())
    later = [f"onnxruntime/{name}" for name in onnxruntime_web.GRAPHICS] if graphics else []
    found = {path.relative_to(PAGE).as_posix(): path for path in sorted(PAGE.rglob("*")) if path.suffix in SUFFIXES}
    site = {name: path.read_bytes() for name, path in found.items() if name not in LEFT_OUT}
    site["backend.js"] = (PAGE / "browser.js").read_bytes()
    site["index.html"] = _page(site["index.html"])
    names = onnxruntime_web.PROCESSOR + (onnxruntime_web.GRAPHICS if graphics else ())
    site |= {f"onnxruntime/{name}": data for name, data in onnxruntime_web.taken(archive, names).items()}
    for _, own in models:
        site |= own
    version = hashlib.sha256("".join(f"{name} {_digest(site[name])}\n" for name in sorted(site)).encode()).hexdigest()
    facts = {"version": version[:16], "colored_by": provenance.colored_by(), "models": [row for row, _ in models]}
    site["site.json"] = json.dumps(facts, indent=1).encode()
    listed = {name: f"sha256-{_digest(site[name])}" for name in sorted(site) if name not in UNLISTED}
    kept = {"version": _digest(json.dumps(listed).encode()), "policy": POLICY, "files": listed, "later": later}
    notice = (Path(__file__).with_name("NOTICE.txt").read_bytes(), (files.SHIPPED / "NOTICE").read_bytes())
    return site | {
        LIST: f"self.SITE = {json.dumps(kept, indent=1)};\n".encode(),
        "_headers": HEADERS.encode(),
        "NOTICE.txt": b"\n\n".join(notice),
    }


def _page(html: bytes) -> bytes:
    """The page with what a server would say of it in headers, for hosts that say nothing."""
    if html.count(b"<head>") != 1:
        raise AssertionError("index.html has no <head> of its own")
    return html.replace(b"<head>", HEAD.encode())


def _digest(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


# --- the folder ----------------------------------------------------------------------------------------------------


def check(out: Path) -> None:
    """UserError where a folder is something else than absent, empty, or a site that `write` wrote."""
    if not os.path.lexists(out):
        if not out.parent.is_dir():
            raise UserError(f"{out}: there is no folder {out.parent}; make it, or give another OUT")
        return
    if not out.is_dir():
        raise UserError(f"{out}: not a folder; give another OUT")
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_symlink() or not path.is_dir()}
    if strange := sorted(there - _written(out)):
        raise UserError(
            f"{out}: holds {strange[0]}, which this command did not write; it replaces OUT whole, so give another one"
        )


def _written(out: Path) -> set[str]:
    """The files that a site's own list says are its; none where there is no such list."""
    try:
        text = (out / LIST).read_text("utf-8")
        names = json.loads(text.removeprefix("self.SITE = ").rstrip().removesuffix(";"))["files"]
        return {*names, *UNLISTED}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def write(out: Path, site: Mapping[str, bytes]) -> None:
    """Write a site as a folder; it replaces the one there. Raises OSError, and UserError as `check`.

    It is made beside it, flushed to the disk, and renamed: a kill leaves the old one or the new one.
    """
    out = Path(os.path.realpath(out))
    part, old = (out.with_name(f".{uuid.uuid4().hex}.part") for _ in range(2))
    try:
        for name, data in site.items():
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with files.replacing(path) as file:
                file.write(data)
        check(out)  # once more: writing takes a while
        if out.exists():
            os.rename(out, old)
        os.rename(part, out)
    finally:
        if not out.exists() and old.exists():
            os.rename(old, out)
        for folder in (part, old):
            shutil.rmtree(folder, ignore_errors=True)
