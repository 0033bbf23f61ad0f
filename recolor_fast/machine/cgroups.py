"""The control groups that limit what this process may take (Linux, versions 1 and 2). Standard library only."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def groups(controller: str, root: Path = ROOT, membership: Path = MEMBERSHIP) -> Iterator[Path]:
    """Folders of this process's groups, each before the one that it is in: those of version 2, and those of version 1
    that have the controller ("cpu", "memory"). Each may set a limit, and the lowest holds.

    A folder need not be there: in a container the process's own group may be the root, whatever its name outside.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controllers if (root / controllers).is_dir() else root / controller if controllers else root
        group = base / path.lstrip("/")
        yield from (folder for folder in [group, *group.parents] if folder.is_relative_to(base))
