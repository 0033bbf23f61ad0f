"""Checks that fail in every way, for the tests of doctor; they run in its own processes."""

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from recolor_fast.doctor.findings import Finding
from recolor_fast.machine.errors import UserError


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def well(said: str = "well") -> Iterator[Finding]:
    print("a library's chatter")  # on standard output, which is none of the answers
    yield Finding("well", "ok", said, facts={"pid": os.getpid()})


def rate() -> Iterator[Finding]:
    yield Finding("train pix2pix", "ok", "12.5 photographs/s", facts={"photographs_per_s": 12.5})


def missing() -> Iterator[Finding]:
    yield Finding("missing", "absent", "not here", "pip install it")


def aborts() -> Iterator[Finding]:
    print("terminate called: no such symbol", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGABRT)
    yield Finding("aborts", "ok", "never said")


def leaves() -> Iterator[Finding]:
    os._exit(7)
    yield Finding("leaves", "ok", "never said")


def hangs() -> Iterator[Finding]:
    time.sleep(60)
    yield Finding("hangs", "ok", "never said")


def tidy(folder: str) -> Iterator[Finding]:
    held = tempfile.mkdtemp(dir=folder)
    try:
        Path(held, "ready").touch()
        time.sleep(60)
    finally:
        signal.raise_signal(signal.SIGTERM)  # a second one, while it tidies up
        shutil.rmtree(held)
    yield Finding("tidy", "ok", "never said")


def stubborn(file: str) -> Iterator[Finding]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    Path(file).write_text(str(os.getpid()))
    time.sleep(60)
    yield Finding("stubborn", "ok", "never said")


def raises() -> Iterator[Finding]:
    raise RuntimeError("two\nlines")
    yield Finding("raises", "ok", "never said")


def breaks() -> Iterator[Finding]:
    import PIL

    library = next(Path(PIL.__file__).parent.glob("_imaging.*"))
    raise ImportError(f"{library}: file too short", name="_imaging", path=str(library))
    yield Finding("breaks", "ok", "never said")


def refuses() -> Iterator[Finding]:
    raise UserError("no such weights")
    yield Finding("refuses", "ok", "never said")


def lacks() -> Iterator[Finding]:
    import torch_that_is_not_there  # noqa: F401

    yield Finding("lacks", "ok", "never said")


def imported() -> Iterator[Finding]:
    """The modules that the checks before it brought in."""
    yield Finding("imported", "ok", " ".join(sorted({name.split(".")[0] for name in sys.modules})))
