"""Folders by path or URL, as pyarrow and fsspec know them: s3://, gs://, hdfs://; what is in them, read and written."""

import os
import posixpath
import shutil
import uuid
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from pyarrow import fs

from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import walk

WHOLE = ("s3", "gcs", "abfs")  # stores where an object is there once it is closed, and has no other names
BLOCK = 2**20  # bytes copied at a time
HEAD = 2**20  # bytes of a file that is too large to be colored, enough to tell what it is


def is_url(place: str) -> bool:
    return "://" in place


def beside(place: str, more: str) -> str:
    """A folder's path or URL with more of a path; what a URL says of its server, after ?, stays its end."""
    path, mark, server = place.partition("?") if is_url(place) else (place, "", "")
    return f"{path.rstrip('/')}{more}{mark}{server}"


@lru_cache(maxsize=64)
def opened(place: str) -> tuple[Any, str]:
    """The file system of a folder's path or URL, and its path there. Raises UserError for a URL that nobody knows."""
    try:
        return fs.FileSystem.from_uri(place if is_url(place) else os.path.abspath(place))
    except (ValueError, OSError, NotImplementedError) as error:
        known = str(error)
    try:
        import fsspec

        system, path = fsspec.core.url_to_fs(place)
    except (ImportError, ValueError, OSError) as error:
        raise UserError(
            f"{place}: cannot be used ({said(error) or known}); give a folder, s3://, gs:// or hdfs://"
        ) from None
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path


def said(error: BaseException) -> str:
    """What a file system says, in one line."""
    return " ".join((getattr(error, "strerror", None) or str(error)).split())[:300]


def check(inputs: Iterable[str], output: str) -> None:
    """Raise UserError, naming the place, for an input that cannot be listed and an output that cannot be written to."""
    for one in inputs:
        system, path = opened(one)
        try:
            kind = system.get_file_info(path).type
            if kind == fs.FileType.Directory:
                system.get_file_info(fs.FileSelector(path, recursive=False))
        except OSError as error:
            raise UserError(f"input {one}: cannot be read ({said(error)}); check its name and rights") from None
        if kind != fs.FileType.Directory:
            raise UserError(f"input {one}: expected a folder of photographs that exists")
        if one.rstrip("/") == output.rstrip("/"):
            raise UserError(f"input and output are both {one}: give another output")
    system, path = opened(output)
    probe = posixpath.join(path, f".{uuid.uuid4().hex}.part")
    try:
        system.create_dir(path, recursive=True)
        with system.open_output_stream(probe) as file:
            file.write(b"recolor_fast")
        system.delete_file(probe)
    except OSError as error:
        raise UserError(f"output {output}: cannot be written ({said(error)}); check its name and rights") from None


def find(inputs: list[str], output: str, globs: walk.Globs) -> Iterator[tuple[str, str, str, str]]:
    """Place, path below it, path below OUT, and why it is left out, of all that is in the inputs, in natural order."""
    outside = opened(output)[1].rstrip("/") if len({is_url(one) for one in [*inputs, output]}) == 1 else None
    for one in inputs:
        system, root = opened(one)
        above = posixpath.basename(root.rstrip("/")) if len(inputs) > 1 else ""
        waiting = [("", not globs.include)]
        while waiting:
            here, included = waiting.pop()
            listed = system.get_file_info(fs.FileSelector(posixpath.join(root, here), recursive=False))
            folders = []
            for entry in sorted(listed, key=lambda entry: walk.natural(entry.base_name)):
                if entry.path.rstrip("/") == outside or not entry.base_name:
                    continue
                below, folder = posixpath.join(here, entry.base_name), entry.type == fs.FileType.Directory
                left, taken = walk.judged(entry.base_name, walk.plain(below), included, globs, folder)
                if left or not folder:
                    yield one, below, posixpath.join(above, below), left
                else:
                    folders.append((below, taken))
            waiting += reversed(folders)


def get(place: str, below: str, path: Path, most: int) -> bool:
    """Bring a file here, with its time; False where there is none. Of one larger than `most` bytes only its beginning,
    at its full length. Raises OSError."""
    system, root = opened(place)
    info = system.get_file_info(posixpath.join(root, below))
    if info.type != fs.FileType.File:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with system.open_input_stream(info.path) as file, open(path, "wb") as copy:
        if info.size > most:
            copy.write(file.read(HEAD))
            copy.truncate(info.size)
        else:
            shutil.copyfileobj(file, copy, BLOCK)
    if info.mtime_ns:
        os.utime(path, ns=(info.mtime_ns, info.mtime_ns))
    return True


def put(path: Path, place: str, below: str) -> None:
    """Write a file whole to a place, or not at all. Raises OSError."""
    system, root = opened(place)
    target = posixpath.join(root, below)
    part = (
        target if system.type_name in WHOLE else posixpath.join(posixpath.dirname(target), f".{uuid.uuid4().hex}.part")
    )
    if part != target:
        system.create_dir(posixpath.dirname(target), recursive=True)
    with open(path, "rb") as file, system.open_output_stream(part) as copy:
        shutil.copyfileobj(file, copy, BLOCK)
    if part != target:
        system.move(part, target)
