"""The process that makes checks, asked and answering line by line; apart.py starts it.

Its first word is a JSON list of checks. For each it reads a line, "yes" to make it, and answers with a line, its
findings.
"""

import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from recolor_fast.doctor.apart import reinstall
from recolor_fast.doctor.findings import Check, Finding
from recolor_fast.machine import extras
from recolor_fast.machine.errors import UserError


def made(check: Check) -> list[Finding]:
    """What a check finds; what it raises is a finding, too."""
    started = time.perf_counter()
    try:
        module, name = check.function.rsplit(".", 1)
        function: Callable[..., Iterator[Finding]] = getattr(importlib.import_module(module), name)
        findings = list(function(*check.arguments))
    except ModuleNotFoundError as error:
        findings = [_lacks(check, error.name or "")]
    except UserError as error:
        findings = [Finding(check.name, "fault", " ".join(str(error).split()), reinstall(check.package))]
    except Exception as error:  # whatever a broken library raises
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:300]
        where = f"{os.path.basename(last.filename)}, line {last.lineno}"
        broken = extras.owner(error) if isinstance(error, ImportError) else ""
        mend = reinstall(broken or check.package)
        findings = [Finding(check.name, "fault", f"{type(error).__name__}: {text} ({where})", mend)]
    seconds = round((time.perf_counter() - started) / max(1, len(findings)), 3)
    return [finding._replace(facts=finding.facts | {"seconds": seconds}) for finding in findings]


def _lacks(check: Check, module: str) -> Finding:
    """The finding of a check that cannot find a module: what it looks at is not here, or lacks something itself."""
    found, _, mend = extras.lacking(module).partition("; ")
    if found:
        return Finding(check.name, "fault" if extras.damaged(module) else "absent", found, mend)
    packages = check.package.split()
    needed = f", which {' or '.join(packages)} needs" if packages else ""
    brings = f"{extras.pip()} {' '.join(map(extras.here, packages))}"  # what they need, too
    mend = brings if packages else reinstall("")
    return Finding(check.name, "fault", f"{module} is not installed{needed}", mend)


def _leave(number: int, frame: object) -> NoReturn:
    """End this process in good order, so that its temporary folders are removed, which a second signal breaks off."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def main() -> None:
    """Make the checks."""
    signal.signal(signal.SIGTERM, _leave)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print is no answer
    values: list[list[Any]] = json.loads(sys.argv[1])
    for check in (Check(*value) for value in values):
        if sys.stdin.readline().strip() == "yes":
            print(json.dumps([finding._asdict() for finding in made(check)]), file=answers, flush=True)
    os._exit(0)  # what libraries do at the end takes seconds, or fails
