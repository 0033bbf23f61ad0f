"""Whether `colorize --engine ray` can do what is asked. Needs nothing of Ray."""

from collections.abc import Sequence

from recolor_fast.machine.errors import UserError


def check(paths: Sequence[str], engine: str, cluster: str | None, refused: dict[str, bool]) -> None:
    """Raise UserError, by name, for what `refused` says was asked and only one machine does, and for a cluster or URLs
    without Ray."""
    if engine != "ray":
        if cluster is not None:
            raise UserError(f"cluster {cluster} without engine ray: give --engine ray as well")
        if url := next((path for path in paths if "://" in path), None):
            raise UserError(f"path {url}: URLs are read and written with --engine ray")
        return
    if "-" in paths:
        raise UserError("- with engine ray: one image needs no cluster; leave one of the two out")
    if bad := next((name for name, asked in refused.items() if asked), ""):
        raise UserError(f"{bad} with engine ray: one machine does that; leave one of the two out")
