"""Writing files so that a kill or a full disk leaves the old one or the new one, never half of either; the cache."""

import os
import re
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

SHIPPED = Path(__file__).with_name("shipped")  # the folder of the artefacts and weights that come with the package


@contextmanager
def replacing(path: str | Path, folder: bool = True) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` when the block ends, flushed to the disk.

    `folder` flushes its name as well; without, a machine that loses power in the next seconds may still have the file
    that was there before, or none, whole in either case. On any error it is removed and `path` stays as it was. The
    folder must exist. Raises OSError from the file system.
    """
    path = Path(path)
    part = path.with_name(f".{uuid.uuid4().hex}.part")  # not from the file's name, which may have no room to grow
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        if folder and os.name == "posix":  # the new name is on the disk only once its folder is
            handle = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)  # a full disk does not say which file it was
        raise


def holds_program(path: Path) -> bool:
    """Whether a file is an archive of torch's that holds code: TorchScript, or a program (.pt2)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name in ("constants.pkl", "archive_format") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def is_part(path: str | Path) -> bool:
    """Whether a file is by its name one that `replacing` left behind when it was killed."""
    return re.fullmatch(r"\.[0-9a-f]{32}\.part", Path(path).name) is not None


def cache_folder() -> Path:
    """Where downloads and engines are kept: $RECOLOR_FAST_CACHE, or recolor_fast in $XDG_CACHE_HOME or in ~/.cache.

    OSError where there is no home folder either.
    """
    if own := os.environ.get("RECOLOR_FAST_CACHE"):
        return Path(own)
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "recolor_fast"
    try:
        return Path.home() / ".cache" / "recolor_fast"
    except RuntimeError as error:  # containers may give a user that has none
        raise OSError(f"{error} Set RECOLOR_FAST_CACHE to a folder for the cache") from error


class NotPrivate(OSError):
    """A folder that should be this user's alone is not."""


def private_folder(name: str) -> Path:
    """The folder `name` of the cache, made for this user alone (mode 0700).

    Raises OSError where it cannot be made, and NotPrivate where it is a link, or others own it or may use it.
    """
    folder = cache_folder() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if hasattr(os, "getuid") and (folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077):
        raise NotPrivate(f"{folder} is a link or open to other users")
    return folder
