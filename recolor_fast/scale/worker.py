"""What one worker does with a few photographs: the same as `colorize` alone. Nothing of Ray is needed here."""

import json
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from recolor_fast.artefact import runtime
from recolor_fast.artefact.hints import Given
from recolor_fast.coloring import folder, outputs
from recolor_fast.coloring.coloring import color
from recolor_fast.coloring.colorizer import jobs_of
from recolor_fast.machine.errors import UserError
from recolor_fast.photographs import claims, provenance, walk
from recolor_fast.scale import places
from recolor_fast.settings import Settings


class Task(NamedTuple):
    """What all workers of a run are given."""

    model: bytes
    name: str
    """Of the model, as outputs say it."""
    provider: runtime.Provider
    threads: int
    """Processors of one worker."""
    settings: Settings
    hints: dict[str, Any] | None
    output: str
    """A folder's path, or a URL."""
    version: str
    """Who started the run: outputs must not be made by another version."""
    here: str
    """The folder that the run was started in, which relative paths are below."""


class Item(NamedTuple):
    """A photograph, or what was found in its place."""

    place: str
    """The input as given, a URL or a path; empty where `below` is a path of its own."""
    below: str
    target: str
    """Path below OUT."""
    named: bool = False
    fault: str = ""
    left: str = ""


class Worker:
    """Holds one session of the model; a call colors a few photographs and returns a record of each."""

    def __init__(self, task: Task) -> None:
        if provenance.colored_by() != task.version:
            raise UserError(f"{provenance.colored_by()} on a worker, {task.version} here: install the same everywhere")
        try:
            os.chdir(task.here)
        except OSError:
            raise UserError(f"{task.here} is not on a worker: give URLs, or folders that all machines share") from None
        self.task = task
        with tempfile.TemporaryDirectory(prefix="recolor_fast") as place:
            path = Path(place, f"{task.name}.onnx")
            path.write_bytes(task.model)
            self.artefact = runtime.load(path, task.provider, threads=1)

    def __call__(self, batch: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Items as JSON, by "item", to records as JSON, by "record"."""
        items = [Item(*json.loads(str(one))) for one in batch["item"]]
        return {"record": [folder.to_json(record) for record in self.colored(items)]}

    def colored(self, items: Sequence[Item]) -> list[folder.Record]:
        if not any(map(places.is_url, [self.task.output, *(one.place for one in items)])):
            found = [
                walk.Found(Path(one.place, one.below), Path(self.task.output, one.target), *one[3:4], False, *one[4:])
                for one in items
            ]
            return self._colored(found, self.task.output, lambda jobs: jobs)
        with tempfile.TemporaryDirectory(prefix="recolor_fast") as here:
            return self._carried(items, here)

    def _colored(self, found: Sequence[walk.Found], output: str, prepared: Any) -> list[folder.Record]:
        enough, task = threading.Event(), self.task
        hints = None if task.hints is None else Given(task.hints)
        with closing(claims.Claims(Path(output), enough)) as begun:
            jobs = prepared(jobs_of(found, output, task.settings, walk.identities(found), begun))
            # not alone: there is such a worker for each processor
            given: Any = {"enough": enough, "begun": begun, "hints": hints, "alone": False}
            with closing(color(self.artefact, jobs, task.settings, task.threads, **given)) as records:
                return list(records)

    def _carried(self, items: Sequence[Item], here: str) -> list[folder.Record]:
        """Color what is elsewhere: brought here with what stands in OUT, colored as any folder, and carried back."""
        task, found, names = self.task, [], {}
        out = os.path.join(here, "out")
        for number, one in enumerate(items):
            source = Path(here, str(number), one.below)
            names[f"{here}/{number}/"] = f"{one.place.partition('?')[0].rstrip('/')}/"
            fault = one.fault
            if not fault and not one.left:
                try:
                    there = places.get(one.place, one.below, source, outputs.MAX_BYTES)
                    fault = "" if there else "No such file or directory"
                except OSError as error:
                    fault = places.said(error)
            found.append(walk.Found(source, Path(out, one.target), one.named, False, fault, one.left))

        def prepared(jobs: Iterable[folder.Job]) -> Iterator[folder.Job]:
            for job in jobs:
                for target in {one for one in (job.target, job.whole) if one is not None}:
                    below = os.path.relpath(target, out)
                    try:
                        if not job.verdict and not os.path.lexists(target):
                            places.get(task.output, below, Path(target), outputs.MAX_BYTES)
                    except OSError as error:
                        why = f"its output {target} cannot be read: {places.said(error)}"
                        job = job._replace(verdict=folder.Verdict("failed", why))
                yield job

        names[f"{out}/"] = f"{task.output.partition('?')[0].rstrip('/')}/"
        return [_named(self._put(record, out), names) for record in self._colored(found, out, prepared)]

    def _put(self, record: folder.Record, out: str) -> folder.Record:
        if record.status != "ok" or record.output is None:
            return record
        try:
            places.put(Path(record.output), self.task.output, os.path.relpath(record.output, out))
        except OSError as error:
            return record._replace(status="failed", reason=f"it cannot be written: {places.said(error)}")
        return record


def _named(record: folder.Record, names: Mapping[str, str]) -> folder.Record:
    """A record with the names that people know."""

    def known(text: str) -> str:
        for here, there in names.items():
            text = text.replace(here, there)
        return text

    return record._replace(
        input=known(record.input),
        output=None if record.output is None else known(record.output),
        reason=known(record.reason),
        notes=tuple(map(known, record.notes)),
    )
