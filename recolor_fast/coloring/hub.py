"""Models on the Hugging Face Hub, by the package huggingface_hub (extra hub): one file of a repository, and a push."""

import hashlib
import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from recolor_fast.machine import extras
from recolor_fast.machine.errors import UserError

CARD = "README.md"  # what the hub shows as a repository's card


def api() -> Any:
    """huggingface_hub's client, of HF_ENDPOINT where that is set. UserError where the package is missing."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read when it is imported
    try:
        hub = importlib.import_module("huggingface_hub")
        return hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)  # its parts are imported when they are named
    except ModuleNotFoundError as error:
        needed = f"{error.name}, which huggingface_hub needs, is not installed; {extras.advice('hub')}"
        raise UserError(extras.lacking(error.name or "") or needed) from error


def chosen(names: Sequence[str], file: str | None, where: object) -> str:
    """The .onnx file that is meant: `file`, else the only one. UserError, naming those there are."""
    models = sorted(name for name in names if name.endswith(".onnx"))
    there = ", ".join(models) or "none"
    if file is not None and file not in models:
        raise UserError(f"{where}: there is no {file}; .onnx files there: {there}")
    if file is None and len(models) != 1:
        raise UserError(f"{where}: expected one .onnx file, or file= to say which; there: {there}")
    return file or models[0]


def download(repo: str, revision: str | None, file: str | None) -> tuple[Path, str]:
    """A model of a repository, in huggingface_hub's cache, and the commit it is of.

    `revision`: a branch, a tag or, which nobody can change, a commit. Its size and hash are those that the hub tells.
    UserError where it is missing or is another file.
    """
    client = api()
    with _answered(repo):
        told = client.model_info(repo, revision=revision, files_metadata=True)
    files = {one.rfilename: one for one in told.siblings}
    name = chosen(list(files), file, repo)
    with _answered(repo):
        path = Path(client.hf_hub_download(repo, name, revision=told.sha))
    if reason := _differs(path.read_bytes(), files[name]):
        raise UserError(f"{repo}: {name} of {told.sha[:12]} is not the file the hub tells of ({reason}); remove {path}")
    return path, told.sha


def _differs(data: bytes, told: Any) -> str:
    """Half a sentence where a file is not of the size and hash that the hub tells; empty where it is."""
    size = told.lfs.size if told.lfs else told.size
    if len(data) != size:
        return f"{len(data)} bytes, not {size}"
    if told.lfs:
        found, expected = hashlib.sha256(data).hexdigest(), told.lfs.sha256
    else:  # git's name of a file is a hash of its content as well
        found, expected = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest(), told.blob_id
    return "" if found == expected else f"its hash is {found[:12]}, not {str(expected)[:12]}"


def card(repo: str, revision: str | None) -> str | None:
    """The card that `upload` would replace; None where there is none yet. UserError where it cannot be fetched.

    A branch `revision` that is still to be made begins with what the main one holds, and so with its card.
    """
    client = api()
    with _answered(repo):
        if not client.repo_exists(repo):
            return None
        if revision is not None and not client.revision_exists(repo, revision):
            revision = None
        if not client.file_exists(repo, CARD, revision=revision):
            return None
        path = client.hf_hub_download(repo, CARD, revision=revision)
        return Path(path).read_text(errors="replace")


def upload(repo: str, files: Mapping[str, bytes], revision: str | None, private: bool | None, message: str) -> str:
    """Commit files to a repository, made where it is missing; the commit. UserError where the hub does not take it."""
    client = api()
    add = importlib.import_module("huggingface_hub").CommitOperationAdd
    with _answered(repo):
        client.create_repo(repo, private=private, exist_ok=True)
        if revision is not None:
            client.create_branch(repo, branch=revision, exist_ok=True)
        operations = [add(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
        return client.create_commit(repo, operations, commit_message=message, revision=revision).oid


@contextmanager
def _answered(repo: str) -> Iterator[None]:
    """UserError where huggingface_hub raises anything."""
    try:
        yield
    except Exception as error:  # its own, its HTTP client's, hf_xet's: there is no common base
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"{repo}: the hub did not answer as expected ({reason}); check the name (owner/name), the revision, the "
            "network, and HF_TOKEN for what is private"
        ) from error
