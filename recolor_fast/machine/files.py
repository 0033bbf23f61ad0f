"""Writing files so that a kill or a full disk leaves the old one or the new one, never half of either; the cache."""

import errno
import os
import re
import sys
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

SHIPPED = Path(__file__).parents[1] / "shipped"  # the folder of the artefacts and weights that come with the package


@contextmanager
def replacing(path: str | Path, folder: bool = True, exclusive: bool = False, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write to that takes the place of `path` when the block ends, flushed to the disk.

    `folder` flushes its name as well; without, a machine that loses power in the next seconds may still have the file
    that was there before, or none, whole in either case. On any error it is removed and `path` stays as it was. The
    folder must exist. Raises OSError from the file system; with `exclusive`, FileExistsError where there is a `path`
    when the block ends, also if it has come a moment before. `mode`: the file's, less what the process's mask takes.
    """
    path = Path(path)
    part = path.with_name(f".{uuid.uuid4().hex}.part")  # not from the file's name, which may have no room to grow
    try:
        with open(part, "xb", opener=partial(os.open, mode=mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            _put_new(part, path)
        else:
            os.replace(part, path)
        if folder:
            _flush_names(path.parent)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)  # a full disk does not say which file it was
        raise


def moved(part: Path, path: Path) -> None:
    """Let a file that is flushed to the disk take the place of `path` in the same folder, and flush its name."""
    os.replace(part, path)
    _flush_names(path.parent)


def _flush_names(folder: Path) -> None:
    if os.name == "posix":  # a new name is on the disk only once its folder is
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _put_new(part: Path, path: Path) -> None:
    """Rename a file to what is no file yet. Raises FileExistsError."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError:  # no hard links here (FAT, some network shares): between the look and the renaming one may come
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        os.rename(part, path)
    else:
        part.unlink()


class NotKept(ValueError):
    """What belongs to a file cannot be given to the one that takes its place; the text is one sentence naming it."""


KERNELS = ("security.ima", "security.evm")  # attributes that are the kernel's: digests of the content


def inherit(source: Path, file: BinaryIO) -> None:
    """Give an open file, which is to take the place of `source`, its owner, mode, access list and extended attributes.

    Raises NotKept where one of them cannot be given, and where the file has a second name (a hard link), which would
    go on leading to the old content. What the system or Python does not know (attributes outside of Linux) is not kept.
    """
    status, handle = source.stat(), file.fileno()
    if status.st_nlink > 1:
        raise NotKept(
            f"it has {status.st_nlink} names (hard links), which would become different files: give an output"
        )
    own = os.fstat(handle)
    if hasattr(os, "fchown") and (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        with _naming(f"owner {status.st_uid}:{status.st_gid}"):
            os.fchown(handle, status.st_uid, status.st_gid)
    kept, has = _attributes(source), _attributes(handle)
    for name in has.keys() - kept.keys():  # that of a folder's access list, which new files inherit
        with _naming(f"lack of the extended attribute {name}"):
            os.removexattr(handle, name)
    for name, value in kept.items():
        if has.get(name) != value:
            with _naming("access list" if name == "system.posix_acl_access" else f"extended attribute {name}"):
                os.setxattr(handle, name, value)
    if hasattr(os, "fchmod"):
        os.fchmod(handle, status.st_mode & 0o7777)


def _attributes(file: Path | int) -> dict[str, bytes]:
    """The extended attributes of a file, access list and all; none where there is no such thing."""
    if not hasattr(os, "listxattr"):
        return {}
    try:
        return {name: os.getxattr(file, name) for name in os.listxattr(file) if name not in KERNELS}
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENODATA, errno.ENOSYS):
            return {}
        raise


@contextmanager
def _naming(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotKept(f"its {what} cannot be kept ({error.strerror}): give an output") from error


def legible(name: object) -> str:
    """A file's name, or any text, as one line that every encoding, font and table takes.

    What cannot be printed (a line break, a byte that is no UTF-8, an invisible mark) is escaped: \\n, \\udce9.
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in str(name))


def legible_bytes(data: bytes) -> str:
    """Bytes for people: "hello" in quotes where they are printable ASCII, else in hexadecimal, FF D8."""
    text = data.decode("ascii", "replace")
    return f'"{text}"' if text.isascii() and text.isprintable() else data.hex(" ").upper()


def say(text: str) -> None:
    """A line for people; what in names is not valid Unicode, breaks lines or commands a terminal is shown escaped."""
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda control: ascii(control[0])[1:-1], text)
    print(text.encode(errors="backslashreplace").decode(), file=sys.stderr)


def print_path(path: Path) -> None:
    """A path as a line on stdout, byte for byte what the file system calls it, be that text or not."""
    try:
        print(path)
    except UnicodeEncodeError:
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")


def holds_program(path: Path) -> bool:
    """Whether a file is an archive of torch's that holds code: TorchScript, or a program (.pt2)."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(Path(name).name in ("constants.pkl", "archive_format") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def is_part(path: str | Path) -> bool:
    """Whether a file is by its name one that `replacing` left behind when it was killed."""
    return re.fullmatch(r"\.[0-9a-f]{32}\.part", os.path.basename(path)) is not None


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
    """The folder `name` of the cache, made for this user alone. Raises what `private` raises."""
    return private(cache_folder() / name)


def state_folder() -> Path:
    """Where what users have begun is kept: recolor_fast in $XDG_STATE_HOME or in ~/.local/state.

    OSError where there is no home folder either.
    """
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "recolor_fast"
    try:
        return Path.home() / ".local" / "state" / "recolor_fast"
    except RuntimeError as error:  # containers may give a user that has none
        raise OSError(f"{error} Set XDG_STATE_HOME to a folder for it") from error


def private(folder: Path) -> Path:
    """A folder, made for this user alone (mode 0700).

    Raises OSError where it cannot be made, and NotPrivate where it is a link, or others own it or may use it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if hasattr(os, "getuid") and (folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077):
        raise NotPrivate(f"{folder} is a link or open to other users")
    return folder


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # names of files need not be valid text
