"""What a check is, and what it finds. Standard library only."""

from typing import Any, Literal, NamedTuple

State = Literal["ok", "absent", "fault", "skipped"]
"""ok: it works. absent: it is not here, and what needs it cannot be done. fault: it is here and does not work, or
nothing works without it. skipped: not looked at, for want of another one."""
FAULT = 3  # the exit code where there is one


class Finding(NamedTuple):
    """One line of what was found."""

    name: str
    """Of what it is about: "torch", "provider cuda"."""
    state: State
    found: str
    """In words, one line."""
    mend: str = ""
    """What to type, or to do where no command does it; empty where nothing is to be mended."""
    facts: dict[str, Any] = {}  # noqa: RUF012 - never changed
    """The same in numbers and names, as JSON takes them."""


class Check(NamedTuple):
    """One look at the machine, in a process that it may bring down."""

    name: str
    function: str
    """Where it is: "package.module.function". It yields findings."""
    arguments: tuple[Any, ...] = ()
    package: str = ""
    """For pip: what is to be installed again where the check crashes or an import fails; empty: nothing is to blame."""
    needs: str = ""
    """An earlier check of the same group, without whose success this one is left out."""
    seconds: float = 60.0
    """After which it hangs."""


def exit_code(findings: list[Finding]) -> int:
    """0, or FAULT where something that is here does not work."""
    return FAULT if any(finding.state == "fault" for finding in findings) else 0
