"""What stands between `colorize` and Ray: which photographs there are, and what workers are given. No Ray but `color`
itself."""

import os
import threading
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path
from typing import Any

from recolor_fast.artefact import runtime
from recolor_fast.artefact.hints import Given
from recolor_fast.coloring import folder
from recolor_fast.coloring.coloring import made
from recolor_fast.coloring.colorizer import globs
from recolor_fast.coloring.destinations import check
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import lists, provenance, walk
from recolor_fast.scale import engine, places, table
from recolor_fast.scale.worker import Item, Task
from recolor_fast.settings import Settings


def items(
    inputs: Sequence[str],
    output: str,
    files: str | None,
    part: lists.Shard | None,
    settings: Settings,
    enough: threading.Event,
) -> Any:
    """What there is to do: a list, or, of a list of files, a generator. Raises UserError for places that cannot be
    used."""
    if not any(map(places.is_url, [*inputs, output])):
        if files is None:
            check(inputs, output, settings, watch=False)
        found = walk.find(inputs, output, globs(settings)) if files is None else lists.find(files, output, enough)
        each: Iterable[Item] = (_item(one, output) for one in found)
    else:
        if files is not None:
            raise UserError(f"files {files} with output {output}: a list's photographs go to a folder")
        places.check(inputs, output)
        each = (Item(*one[:3], False, "", one[3]) for one in places.find(list(inputs), output, globs(settings)))
    mine = (one for one in each if part is None or part.has(one.target))
    return mine if files is not None else list(mine)


def _item(one: walk.Found, output: str) -> Item:
    if one.named:
        raise UserError(f"output {output} with engine ray: give a folder to write to")
    return Item("", str(one.source), str(one.target.relative_to(output)), one.source_named, one.fault, one.left)


def color(
    photographs: Iterable[Item],
    artefact: runtime.Artefact,
    arguments: Any,
    settings: Settings,
    output: str,
    hints: Given | None,
) -> Generator[folder.Record]:
    """A record of each, from the workers, and all of them in the table beside OUT."""
    path = arguments.model or runtime.shipped("chroma" if hints is None else "hints")
    task = Task(
        Path(path).read_bytes(),
        artefact.name,
        arguments.provider,
        arguments.threads or 1,
        settings,
        None if hints is None else dict(hints.by_name),
        output,
        provenance.colored_by(),
        os.getcwd(),
    )
    for record in table.recorded(engine.color(photographs, task, arguments.cluster), output, made(artefact, settings)):
        if hints is not None:
            hints.of(Path(record.input))  # notes which were taken
        yield record
