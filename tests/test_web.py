"""The static site that `web` writes: its files, the folder, and what becomes of it when something goes wrong."""

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from recolor_fast.artefact import runtime
from recolor_fast.machine import files
from recolor_fast.machine.errors import UserError
from recolor_fast.web import __main__ as verb
from recolor_fast.web import models, onnxruntime_web, site
from tests import artefacts, javascript

NAMES = (*onnxruntime_web.PROCESSOR, *onnxruntime_web.GRAPHICS)


def package(path: Path, names: tuple[str, ...] = NAMES) -> Path:
    """An npm package with files of these names, and others that would be dangerous."""
    with tarfile.open(path, "w:gz") as tar:
        for name in (*(f"package/dist/{name}" for name in names), "package/package.json", "package/../../evil"):
            data = f"of {name}".encode()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("package/dist/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


@pytest.fixture
def archive(tmp_path, monkeypatch) -> Path:
    path = package(tmp_path / "onnxruntime-web.tgz")
    known(path, monkeypatch)
    return path


def known(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        onnxruntime_web, "SHA512", base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    )


def write(out: Path, archive: Path, *words: str) -> int:
    return verb.main([str(out), "--onnxruntime-web", str(archive), *words])


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def listed(folder: Path) -> dict:
    return json.loads((folder / "files.js").read_text().removeprefix("self.SITE = ").rstrip(";\n"))


def test_the_site_is_whole_and_its_list_is_true(tmp_path, archive, capsys):
    assert write(tmp_path / "out", archive) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"
    found = tree(tmp_path / "out")
    kept = listed(tmp_path / "out")
    assert set(found) == {*kept["files"], "sw.js", "files.js", "_headers", "NOTICE.txt"}
    for name, digest in kept["files"].items():
        assert digest == "sha256-" + base64.b64encode(hashlib.sha256(found[name]).digest()).decode()
    assert found["backend.js"] == (site.PAGE / "browser.js").read_bytes()
    assert not {"server.js", "browser.js"} & set(found)
    assert found["onnxruntime/ort.wasm.min.mjs"] == b"of package/dist/ort.wasm.min.mjs"
    assert b"Microsoft" in found["NOTICE.txt"]
    assert kept["later"] == []  # int8 alone: nothing for graphics cards
    assert not any("webgpu" in name for name in found)


def test_what_the_scripts_import_is_there(tmp_path, archive):
    write(tmp_path / "out", archive)
    found = tree(tmp_path / "out")
    for name, data in found.items():
        if name.endswith(".js"):
            for target in re.findall(r"(?:from|import) \"(\.[^\"]+)\"", data.decode()):
                assert os.path.normpath(Path(name).parent / target) in found, f"{name} imports {target}"


def test_no_file_names_another_origin_and_the_page_forbids_them(tmp_path, archive):
    write(tmp_path / "out", archive)
    found = tree(tmp_path / "out")
    page = found["index.html"].decode()
    assert page.count("Content-Security-Policy") == 1
    assert "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'" in page
    assert '<link rel="manifest" href="manifest.webmanifest">' in page
    assert "Cross-Origin-Opener-Policy: same-origin" in found["_headers"].decode()
    icons = json.loads(found["manifest.webmanifest"])["icons"]
    assert all(icon["src"] in found for icon in icons)
    for name, data in found.items():
        if name.endswith((".js", ".html", ".css")):
            loads = re.findall(r"(?:src|href|fetch|import)\s*[=(]\s*[\"'`]https?:", data.decode())
            assert not loads, name


def test_what_the_models_say_is_in_site_json(tmp_path, archive):
    write(tmp_path / "out", archive)
    facts = json.loads((tmp_path / "out/site.json").read_text())
    (model,) = facts["models"]
    assert facts["colored_by"].startswith("recolor_fast")
    assert (model["name"], model["size"], model["equalize"], model["blur"]) == ("colorizer", 160, "none", "none")
    assert set(model["graphs"]) == {"chroma", "hints"}
    assert len(model["palette"]["all"]) == 8
    for graph, row in model["graphs"].items():
        assert (tmp_path / "out" / row["path"]).read_bytes() == runtime.shipped(graph).read_bytes()
        assert row["sha256"] == hashlib.sha256(runtime.shipped(graph).read_bytes()).hexdigest()[:16]
        assert (row["graph"], row["precision"]) == (graph, "int8")


def test_own_models_bring_what_graphics_cards_need_and_what_they_have_to_paint(tmp_path, archive):
    echo = artefacts.echo(tmp_path / "old portraits.onnx")
    sepia = artefacts.constant(tmp_path / "sepia.onnx")
    assert write(tmp_path / "out", archive, "--model", str(echo), "--model", str(sepia)) == 0
    rows = json.loads((tmp_path / "out/site.json").read_text())["models"]
    assert [row["name"] for row in rows] == ["old portraits", "sepia"]
    assert all(row["palette"] is None and set(row["graphs"]) == {"chroma"} for row in rows)
    assert rows[0]["graphs"]["chroma"]["probe"] == [*models.probe(64)[::8, ::8].ravel().tolist()] * 2
    assert rows[1]["graphs"]["chroma"]["probe"] == [artefacts.SEPIA[0]] * 64 + [artefacts.SEPIA[1]] * 64
    kept = listed(tmp_path / "out")
    assert kept["later"] == [f"onnxruntime/{name}" for name in onnxruntime_web.GRAPHICS]
    assert set(kept["later"]) <= set(kept["files"])


@javascript.needs_node
def test_the_page_makes_the_same_probe():
    (found,) = javascript.call([("browser/model", "probeOf", [160])])
    assert (found.reshape(160, 160) == models.probe(160)).all()


# --- the folder ----------------------------------------------------------------------------------------------------


def test_written_twice_it_is_the_same_and_nothing_lies_beside_it(tmp_path, archive):
    write(tmp_path / "out", archive)
    first = tree(tmp_path / "out")
    write(tmp_path / "out", archive)
    assert tree(tmp_path / "out") == first
    assert {path.name for path in tmp_path.iterdir()} == {"out", archive.name}


def test_an_older_site_is_replaced_whole(tmp_path, archive):
    write(tmp_path / "out", archive, "--model", str(artefacts.echo(tmp_path / "echo.onnx")))
    write(tmp_path / "out", archive)
    assert "onnxruntime/ort.webgpu.min.mjs" not in tree(tmp_path / "out")


def test_an_empty_folder_is_taken(tmp_path, archive):
    (tmp_path / "out").mkdir()
    assert write(tmp_path / "out", archive) == 0
    assert (tmp_path / "out/index.html").is_file()


def test_a_link_to_the_folder_stays_one(tmp_path, archive):
    (tmp_path / "really").mkdir()
    (tmp_path / "out").symlink_to("really")
    assert write(tmp_path / "out", archive) == 0
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "really/index.html").is_file()


@pytest.mark.parametrize("strange", ["holiday.jpg", "models/mine.onnx", "files.js"])
def test_what_it_did_not_write_is_never_replaced(tmp_path, archive, capsys, strange):
    path = tmp_path / "out" / strange
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    assert write(tmp_path / "out", archive) == 2
    assert f"holds {strange}, which this command did not write" in capsys.readouterr().err
    assert tree(tmp_path / "out") == {strange: b"mine"}


def test_a_file_added_to_a_site_keeps_it_from_being_replaced(tmp_path, archive, capsys):
    write(tmp_path / "out", archive)
    (tmp_path / "out/CNAME").write_text("photographs.example\n")
    assert write(tmp_path / "out", archive) == 2
    assert "holds CNAME" in capsys.readouterr().err
    assert (tmp_path / "out/CNAME").is_file()


def test_a_file_and_a_missing_parent_are_told(tmp_path, archive, capsys):
    (tmp_path / "file").write_bytes(b"")
    assert write(tmp_path / "file", archive) == 2
    assert write(tmp_path / "no/out", archive) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("not a folder; give another OUT")
    assert f"there is no folder {tmp_path / 'no'}" in second


def test_a_full_disk_leaves_the_old_site(tmp_path, archive, capsys, monkeypatch):
    write(tmp_path / "out", archive, "--model", str(artefacts.echo(tmp_path / "echo.onnx")))
    before = tree(tmp_path)
    left = iter(range(9))
    replacing = files.replacing

    def full(path, *words):
        if next(left, None) is None:
            raise OSError(28, "No space left on device", str(path))
        return replacing(path, *words)

    monkeypatch.setattr(files, "replacing", full)
    assert write(tmp_path / "out", archive) == 2
    assert "No space left" in capsys.readouterr().err
    assert tree(tmp_path) == before


def test_the_old_site_is_back_where_the_new_one_cannot_take_its_place(tmp_path, archive, monkeypatch):
    write(tmp_path / "out", archive)
    before = tree(tmp_path)
    rename, calls = os.rename, []

    def fails_second(old, new):
        calls.append(new)
        if len(calls) == 2:
            raise OSError(1, "Operation not permitted")
        rename(old, new)

    monkeypatch.setattr(site.os, "rename", fails_second)
    with pytest.raises(OSError, match="not permitted"):
        site.write(tmp_path / "out", {"index.html": b"new"})
    assert tree(tmp_path) == before


# --- models and runtime --------------------------------------------------------------------------------------------


def test_models_that_a_page_cannot_run_are_told(tmp_path, archive, capsys):
    image = artefacts.painter(tmp_path / "image.onnx")
    assert write(tmp_path / "out", archive, "--model", str(image)) == 4
    assert "its graph is image; export it with --graph hints, or chroma" in capsys.readouterr().err
    (tmp_path / "other").mkdir()
    twins = [artefacts.echo(tmp_path / "echo.onnx"), artefacts.echo(tmp_path / "other/echo.onnx")]
    assert write(tmp_path / "out", archive, *(word for twin in twins for word in ("--model", str(twin)))) == 2
    assert "model echo: given twice" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_another_package_is_refused(tmp_path, archive, capsys):
    other = tmp_path / "other.tgz"
    other.write_bytes(archive.read_bytes() + b"\0")
    assert write(tmp_path / "out", other) == 4
    assert write(tmp_path / "out", tmp_path / "none.tgz") == 4
    first, second = capsys.readouterr().err.splitlines()
    assert f"not that of `npm pack onnxruntime-web@{onnxruntime_web.VERSION}`" in first
    assert "No such file" in second
    assert not (tmp_path / "out").exists()


def test_without_npm_it_is_said_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"npm is not installed.* give the file with --onnxruntime-web"):
        onnxruntime_web.taken(None, NAMES)


def npm(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A program called npm, the only one there is."""
    folder.mkdir(exist_ok=True)
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_npms_reason_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    npm(tmp_path / "bin", monkeypatch, "echo 'npm error network' >&2; exit 1")
    with pytest.raises(UserError, match=r"npm could not fetch onnxruntime-web@.* \(npm error network\)"):
        onnxruntime_web.taken(None, NAMES)


def test_what_npm_brings_has_to_be_what_is_known_and_is_kept(tmp_path, archive, monkeypatch):
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    brings = f'while [ "$1" != --pack-destination ]; do shift; done; /bin/cp {archive} "$2"'
    npm(tmp_path / "bin", monkeypatch, brings)
    assert onnxruntime_web.taken(None, NAMES)["ort.wasm.min.mjs"] == b"of package/dist/ort.wasm.min.mjs"
    npm(tmp_path / "bin", monkeypatch, "exit 1")  # not asked again
    assert set(onnxruntime_web.taken(None, NAMES)) == set(NAMES)
    monkeypatch.setattr(onnxruntime_web, "SHA512", "another")
    npm(tmp_path / "bin", monkeypatch, brings)
    with pytest.raises(UserError, match="has another SHA-512"):
        onnxruntime_web.taken(None, NAMES)


def test_help_imports_little():
    program = "import sys\nfrom recolor_fast.arguments import web\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"onnxruntime", "cv2", "torch"} & set(done.stdout.split())
