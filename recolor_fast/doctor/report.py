"""Groups of checks made side by side, and what they find as text or JSON. Standard library, and tqdm for the bar."""

import json
import shutil
import textwrap
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from recolor_fast.doctor.apart import Running, examined
from recolor_fast.doctor.findings import Check, Finding, exit_code
from recolor_fast.machine import bars, processors
from recolor_fast.machine.files import legible
from recolor_fast.machine.signals import stoppable
from recolor_fast.machine.versions import versions

SCHEMA = 1
"""Of the JSON; another number where what it holds means something else."""


def looked(groups: Sequence[Sequence[Check]], words: str, at_once: int = 0) -> tuple[list[Finding], float]:
    """What all checks find, in their order, and the seconds that took; so many groups at a time, 0: as processors."""
    started = time.perf_counter()
    running = Running()
    with (
        stoppable(once=True),
        bars.bar(None, words, sum(map(len, groups)), unit=" checks") as bar,
        ThreadPoolExecutor(at_once or min(len(groups), processors.threads())) as pool,
    ):
        try:
            found = pool.map(lambda group: examined(group, lambda check: bar.update(1), running), groups)
            findings = [finding for some in found for finding in some]
        finally:
            running.end()  # which the pool waits for
    return findings, time.perf_counter() - started


def as_json(findings: Sequence[Finding], seconds: float) -> str:
    """An object: schema, exit_code, seconds, versions, and findings, each of name, state, found, mend and facts."""
    told = {
        "schema": SCHEMA,
        "exit_code": exit_code([*findings]),
        "seconds": round(seconds, 1),
        "versions": versions(),
        "findings": [finding._asdict() for finding in findings],
    }
    return json.dumps(told, indent=1)


def skipped(findings: Sequence[Finding]) -> list[str]:
    """A line for what was not looked at, for each reason."""
    reasons: dict[str, list[str]] = {}
    for finding in findings:
        if finding.state == "skipped":
            reasons.setdefault(finding.found, []).append(finding.name)
    return [f"{reason}: {', '.join(names)}" for reason, names in reasons.items()]


def as_text(findings: Sequence[Finding], seconds: float) -> str:
    """A table: state, what, what was found, and below it what mends it; then how many of what there are."""
    columns = min(shutil.get_terminal_size((110, 24)).columns, 120)
    names = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        if finding.state == "skipped":
            continue
        head = f"{finding.state:7} {finding.name:{names}}  "
        rows = textwrap.wrap(
            legible(finding.found), max(40, columns - len(head)), break_long_words=False, break_on_hyphens=False
        )
        lines += [f"{head if not number else ' ' * len(head)}{row}" for number, row in enumerate(rows or [""])]
        if finding.state != "ok" and finding.mend:
            lines.append(f"{' ' * len(head)}-> {legible(finding.mend)}")  # unbroken: to be copied
    lines += skipped(findings)
    count = {state: sum(finding.state == state for finding in findings) for state in ("ok", "absent", "fault")}
    lines.append("")
    lines.append(
        f"{count['ok']} ok; {count['absent']} absent: not here, needed only by what uses them; {count['fault']} "
        f"fault{'s' * (count['fault'] != 1)}: to be mended ({seconds:.0f} s)"
    )
    return "\n".join(lines)
