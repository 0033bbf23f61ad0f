"""Verb: how fast this machine trains, loads and colors, beside machines that are known; a minute.

Exit codes: 0 measured, 2 wrong usage, 3 where a part of it failed.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.doctor.benchmark", arguments="benchmark")

from recolor_fast.arguments.benchmark import parse
from recolor_fast.doctor import report, rows
from recolor_fast.doctor.findings import exit_code
from recolor_fast.doctor.table import speeds
from recolor_fast.machine import starting
from recolor_fast.machine.errors import UserError


@starting.verb()
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = parse(argv)
    if not 0 < arguments.seconds <= 3600:
        raise UserError(f"--seconds {arguments.seconds:g}: expected more than 0 and at most 3600")
    findings, seconds = report.looked(speeds(arguments.seconds, arguments.quick), "measuring", at_once=1)
    print(report.as_json(findings, seconds) if arguments.json else rows.as_text(findings, seconds))
    return exit_code(findings)
