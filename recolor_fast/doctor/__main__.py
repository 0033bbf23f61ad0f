"""Verb: what of this package works on this machine, and what to type where something does not.

Exit codes: 0 all that is here works, 2 wrong usage, 3 something that is here does not.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.doctor.__main__", arguments="doctor")

from recolor_fast.arguments.doctor import parse
from recolor_fast.doctor import report
from recolor_fast.doctor.findings import exit_code
from recolor_fast.doctor.table import GROUPS
from recolor_fast.machine import starting


@starting.verb()
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = parse(argv)
    findings, seconds = report.looked(GROUPS, "looking")
    print(report.as_json(findings, seconds) if arguments.json else report.as_text(findings, seconds))
    return exit_code(findings)
