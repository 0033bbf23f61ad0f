"""Downloads: over https alone, of a SHA-256 that is known beforehand, whole or not at all."""

import hashlib
import sys
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from recolor_fast.files import replacing

PIECE = 1 << 20  # bytes read at a time
SILENCE = 30.0  # seconds without a byte, after which a download has failed


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

    It takes its place when its SHA-256 is the pinned one; on any error nothing of it stays. Raises OSError for a
    server that does not answer or stops, for an address or a redirect that is not https, and for other contents.
    """
    digest, count = hashlib.sha256(), 0
    bar = tqdm(total=what.size, desc=what.name, unit="B", unit_scale=True, disable=None, file=sys.stderr)
    try:
        with bar, OPENER.open(what.url, timeout=SILENCE) as answer, replacing(path) as file:
            while piece := answer.read(PIECE):
                count += len(piece)
                if count > what.size:
                    raise OSError(f"{what.url} is longer than the {what.size} bytes expected; nothing of it is kept")
                digest.update(piece)
                file.write(piece)
                bar.update(len(piece))
            check(what, digest.hexdigest(), what.url)
    except HTTPException as error:  # IncompleteRead and the like, which are no OSErrors
        raise urllib.error.URLError(f"the connection broke off after {count} bytes ({error!r})") from error
    except ValueError as error:
        raise OSError(f"{error}; nothing of it is kept") from error


def verify(what: Pinned, path: Path) -> None:
    """Raise ValueError where the file at `path` is not what was pinned, OSError where it cannot be read."""
    with open(path, "rb") as file:
        check(what, hashlib.file_digest(file, "sha256").hexdigest(), str(path))


def check(what: Pinned, found: str, origin: str) -> None:
    """Raise ValueError, naming `origin`, where a SHA-256 in hexadecimal is not the pinned one."""
    if not found.startswith(what.sha256):
        raise ValueError(f"{origin}: its SHA-256 is {found}, expected {what.sha256}")


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
