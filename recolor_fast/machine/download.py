"""Downloads: over https alone, of a SHA-256 that is known beforehand, whole or not at all.

A broken one resumes where it was: what came so far stays beside its place, under a name of its own.
"""

import errno
import hashlib
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException
from io import BufferedRandom
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import moved

try:
    import fcntl
except ImportError:  # Windows: there two that download the same file at once would both fail at its SHA-256
    fcntl = None  # type: ignore[assignment]

PIECE = 1 << 20  # bytes read at a time
SILENCE = 30.0  # seconds without a byte, after which a connection has broken
TRIES = 5  # connections of one download, each of which has brought something before the next one is made


class Pinned(NamedTuple):
    """A file on a server, and what its contents must be."""

    url: str
    sha256: str
    """In hexadecimal: all 64 digits or, where nobody has published more, the first ones."""
    size: int
    """Bytes; no more are read."""

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


def https_alone(https: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """What opens addresses with this handler of https and knows no other scheme, so no redirect leads to one."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        https,
        urllib.request.ProxyHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),  # raises URLError for the schemes that are missing here
    ):
        opener.add_handler(handler)
    return opener


OPENER = https_alone(urllib.request.HTTPSHandler())


def fetch(what: Pinned, path: Path) -> None:
    """Download a file to `path`, in a folder that exists, with a progress bar on stderr.

    It takes its place when its SHA-256 is the pinned one. A connection that breaks is made again, as often as TRIES;
    what came until then is kept, and the next call resumes from there. Other contents than the pinned ones are not
    kept. Raises OSError for a server that does not answer or stops, for an address or a redirect that is not https, and
    for other contents.
    """
    with suppress(OSError, ValueError):
        verify(what, path)
        return
    part = partial(what, path)
    bar = tqdm(total=what.size, desc=what.name, unit="B", unit_scale=True, disable=None, file=sys.stderr)
    with bar, _alone(part) as file:
        kept = file.seek(0, os.SEEK_END)
        try:
            _all_of(what, file, bar)
            if kept and not _is(what, file):  # what was kept may be to blame, on the disk or of another version
                file.truncate(0)
                _all_of(what, file, bar)
            file.seek(0)
            check(what, hashlib.file_digest(file, "sha256").hexdigest(), what.url)
        except UserError as error:
            file.truncate(0)
            raise OSError(f"{error}; nothing of it is kept") from error
    moved(part, path)


def partial(what: Pinned, path: Path) -> Path:
    """Where the part of a download is kept that came before it broke: beside `path`, by files.is_part's names."""
    return path.with_name(f".{hashlib.sha256(f'{what.url} {what.sha256}'.encode()).hexdigest()[:32]}.part")


@contextmanager
def _alone(part: Path) -> Iterator[BufferedRandom]:
    """A part to read and to add to, flushed to the disk when the block ends; removed if it is empty then.

    Raises OSError where another process has it.
    """
    with open(part, "a+b") as file:
        _lock(file, part)
        try:
            yield file
        finally:
            file.flush()
            os.fsync(file.fileno())
            if not file.seek(0, os.SEEK_END):
                part.unlink(missing_ok=True)


def _lock(file: BufferedRandom, part: Path) -> None:
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EAGAIN, "another process is downloading it; start again once it is done") from None


def _is(what: Pinned, file: BufferedRandom) -> bool:
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest().startswith(what.sha256)


def _all_of(what: Pinned, file: BufferedRandom, bar: tqdm) -> None:
    """Add to a part until it is as long as the file. Raises OSError, which says what is kept, and ValueError."""
    for left in reversed(range(TRIES)):
        before = file.seek(0, os.SEEK_END)
        try:
            _more_of(what, file, bar)
            return
        except (OSError, HTTPException) as error:
            have = file.seek(0, os.SEEK_END)
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                file.truncate(0)  # a disk that is full should not be so because of this
                raise
            if have > before and left:
                continue
            reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
            if isinstance(error, urllib.error.HTTPError):
                reason = f"{error.code} {error.reason}"
            kept = f"; {have:,} of {what.size:,} bytes are kept, and the next try resumes from there" if have else ""
            raise urllib.error.URLError(f"{reason or type(error).__name__}{kept}") from error


def _more_of(what: Pinned, file: BufferedRandom, bar: tqdm) -> None:
    """Ask for what is missing and add what comes. Raises OSError, HTTPException and, for more than that, ValueError."""
    have = file.seek(0, os.SEEK_END)
    if have > what.size:
        have = file.truncate(0)
    bar.update(have - bar.n)
    if have == what.size:
        return
    request = urllib.request.Request(what.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = OPENER.open(request, timeout=SILENCE)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # it ends before what is asked for: another file than the one that was begun
            file.truncate(0)
        raise
    with answer:
        if have and answer.status != 206:  # a server that knows no ranges sends all of it
            have = file.truncate(0)
            bar.update(-bar.n)
        elif have and not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise OSError(f"{what.url} answers with another part than was asked for")
        while piece := answer.read(PIECE):
            have += len(piece)
            if have > what.size:
                raise UserError(f"{what.url} is longer than the {what.size} bytes expected")
            file.write(piece)
            bar.update(len(piece))
    if have < what.size:
        raise OSError(f"the connection broke off after {have:,} bytes")


def verify(what: Pinned, path: Path) -> None:
    """Raise UserError where the file at `path` is not what was pinned, OSError where it cannot be read."""
    with open(path, "rb") as file:
        check(what, hashlib.file_digest(file, "sha256").hexdigest(), str(path))


def check(what: Pinned, digest: str, origin: str) -> None:
    """Raise UserError, naming `origin`, where a SHA-256 in hexadecimal is not the pinned one."""
    if not digest.startswith(what.sha256):
        raise UserError(f"{origin}: its SHA-256 is {digest}, expected {what.sha256}")


def reachable(url: str, seconds: float = 4.0) -> bool:
    """Whether the server answers a HEAD request for `url` within `seconds`."""
    answered = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=seconds):
                answered.append(True)
        except (OSError, ValueError, HTTPException):  # no network, no such name, an error page; a mistyped proxy
            return

    # A thread of its own, as the timeout above does not hold for looking up the name.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answered)
