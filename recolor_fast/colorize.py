"""Verb: color gray photographs, files or folders of them; needs no torch.

    python -m recolor_fast.colorize IN... OUT [--model FILE.onnx]

With the colorizer that comes with the package, or with any exported generator.
Chroma is predicted at the model's size, upsampled and merged with the full-size luminance, which stays as it is. From
Python it is `Colorizer`.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.colorize", arguments="colorize")

import os
import sys
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from tqdm import tqdm

from recolor_fast.arguments import colorize as words
from recolor_fast.arguments.colorize import Arguments
from recolor_fast.artefact import runtime
from recolor_fast.artefact.hints import Given
from recolor_fast.artefact.hints import read as read_hints
from recolor_fast.coloring import folder, outputs, sheet
from recolor_fast.coloring.coloring import color, colorize, count, require_hints
from recolor_fast.coloring.colorizer import Colorizer, checked, find, jobs_of
from recolor_fast.coloring.destinations import (
    beside,
    check,
    check_named,
    check_parts,
    parted,
    parted_list,
    shared_folder,
)
from recolor_fast.coloring.tally import Tally
from recolor_fast.films import request
from recolor_fast.machine import bars, starting
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import say
from recolor_fast.machine.signals import stoppable
from recolor_fast.photographs import claims, images, lists, provenance, walk
from recolor_fast.scale import asked
from recolor_fast.settings import Settings

__all__ = ["Arguments", "Colorizer", "colorize", "main"]

REMEMBERED = 100_000  # outputs of a list, to name two photographs with the same one
OK, ERROR, USAGE, FAILED, NO_MODEL = 0, 1, 2, 3, 4  # exit codes; 128 + the signal's number where one stopped it


# --- the command ---------------------------------------------------------------------------------------------------


@starting.verb(
    stopped="stopped; what was written so far is complete, and the same command resumes from there",
    unread="stopped: nobody reads the output any more; the same command resumes from there",
    told={OSError: ERROR},
)
def main(argv: list[str]) -> int:
    """Run the verb with these arguments (none: the command line's); returns the exit code."""
    arguments = words.parse(argv)
    with stoppable():
        return _run(arguments)


def _run(arguments: Arguments) -> int:
    settings, threads, paths = checked(arguments.settings), count(arguments.threads), arguments.paths
    by_name = None if arguments.hints is None else Given(read_hints(arguments.hints))
    ray, urls = arguments.engine == "ray", any("://" in path for path in paths)
    refused = {"watch": arguments.watch, "temporal": settings.temporal, settings.no_out: bool(settings.no_out)}
    asked.check(paths, arguments.engine, arguments.cluster, refused | {"sheet": bool(arguments.sheet and urls)})
    check_parts(settings, arguments.watch, arguments.files, arguments.shard, "-" in paths)
    part = None if arguments.shard is None else lists.shard(arguments.shard)
    inputs: Sequence[str] = ()
    if arguments.files is not None:
        output = parted_list(paths, settings.no_out, arguments.files)
        lists.check(arguments.files)
        where = "the list" if arguments.files == "-" else arguments.files
    else:
        inputs, output = parted(paths, settings.no_out)
        if len(inputs) == 1 and request.is_film(inputs[0]):  # among others it is counted, as in a folder
            return _film(arguments, settings, inputs[0], output)
        where = ", ".join(inputs)
    if arguments.codec != "auto" or arguments.no_temporal:
        raise UserError(f"codec and no_temporal are for a film, one file, and {where} is none")
    where += f", shard {arguments.shard}" if part else ""
    anew = settings.overwrite and arguments.files is None  # a sheet's own file may be one of a list's
    if arguments.sheet:
        sheet.check(arguments.sheet, tuple(inputs), output, anew, arguments.watch)
    shown = sheet.Sheet(arguments.sheet) if arguments.sheet else None
    enough, total = threading.Event(), None
    protected: set[tuple[int, int]] = set()
    begun: claims.Claims | None = None
    files: Iterable[walk.Found]
    jobs: Iterable[folder.Job]
    ends: dict[str, Any] = {}
    items: Any = ()  # of Ray
    if ray:
        from recolor_fast.scale import driver

        assert output is not None
        items = driver.items(inputs, output, arguments.files, part, settings, enough)
        jobs, total = (), None if arguments.files else len(items)
    elif arguments.files is not None:
        begun = claims.Claims(shared_folder(inputs, output), enough)
        files = lists.find(arguments.files, output, enough)
        files = beside(files) if settings.beside else files
        files = (one for one in files if part is None or part.has(lists.below(one, (), output)))
        jobs = jobs_of(files, output, settings, protected, begun, most=REMEMBERED)
    elif "-" in paths:
        if len(inputs) != 1 or output is None or arguments.watch:
            raise UserError(f"paths {' '.join(paths)!r}: with - expected IN OUT, one image, and no watch")
        jobs, ends = _stream(inputs[0], output, settings)
        total = 1
    else:
        check(inputs, output, settings, arguments.watch)
        begun = claims.Claims(shared_folder(inputs, output), enough, arguments.watch)
        if arguments.watch:

            def glance() -> list[walk.Found]:
                files = list(find(inputs, output, settings))
                protected.clear()
                protected.update(walk.identities(files))
                return files

            files = walk.watch(glance, enough, again=begun.missed)
        else:
            files = list(find(inputs, output, settings))
            protected = walk.identities(files)  # of all shards
            files = [one for one in files if part is None or part.has(lists.below(one, tuple(inputs), output))]
            total = len(files)
        jobs = jobs_of(files, output, settings, protected, begun)
    artefact = _model(arguments, threads if total == 1 else 1)
    if by_name is not None:
        require_hints(artefact)
    unused: dict[str, str] = {}  # where there are hints: why a photograph was not colored
    if output == "-" and settings.color == "skip":
        settings = replace(settings, color="copy")  # whoever reads stdout waits for a picture
    tally = Tally(settings, inputs, output, where)
    lines = sys.stderr if output == "-" else sys.stdout  # now: an engine may turn what others print elsewhere
    with ExitStack() as stack:
        if begun is not None:
            stack.enter_context(closing(begun))
        stack.callback(tally.tell)  # once all is over, however it ends
        bar = stack.enter_context(tqdm(total=total, unit="file", file=sys.stderr, disable=not bars.drawn()))
        source: Generator[folder.Record]
        if ray and output is not None:
            source = driver.color(items, artefact, arguments, settings, output, by_name)
        else:
            given: Any = {"enough": enough, "begun": begun, "hints": by_name, "alone": part is None, **ends}
            source = color(artefact, jobs, settings, threads, **given)
        records = stack.enter_context(closing(source))
        for record in records:
            bar.update()
            tally.add(record)
            if shown:
                shown.add(record)
            if by_name is not None and record.status != "ok":
                unused[record.input] = record.reason
            if arguments.json:
                print(folder.to_json(record), file=lines, flush=True)
        tally.whole = True
    if by_name is not None and (left := by_name.left()):
        why = (f"{name} ({_reason(name, unused)})" for name in left[:5])
        say(f"warning: hints without effect: {', '.join(why)}{' and others' * (len(left) > 5)}")
    wanting = bool(shown and not _write(shown, _called(arguments, artefact), anew))
    return FAILED if tally.failed or wanting else OK


def _film(arguments: Arguments, settings: Settings, source: str, output: str | None) -> int:
    """Color a film; returns the exit code."""
    names = ("hints", "watch", "shard", "sheet")
    request.check(
        source,
        settings,
        {name: getattr(arguments, name) for name in names}
        | {"-": output == "-", "engine ray": arguments.engine == "ray"},
    )
    if settings.temporal and arguments.no_temporal:
        raise UserError("temporal with no_temporal: give one of the two")
    assert output is not None
    target = request.target(source, output)
    from recolor_fast.films import film

    filming = film.Filming(arguments.codec, not arguments.no_temporal)
    artefact, tally = _model(arguments, 1), Tally(settings, (source,), str(target))
    record = film.color(artefact, Path(source), target, settings, filming, arguments.threads)
    tally.add(record)
    tally.tell()
    if arguments.json:
        print(folder.to_json(record), flush=True)
    return FAILED if tally.failed else OK


def _reason(name: str, unused: dict[str, str]) -> str:
    """Why the hints for a name had no effect."""
    reasons = (reason for path, reason in unused.items() if f"/{Path(path).as_posix()}".endswith(f"/{name}"))
    return next(reasons, "no file of that name")


def _write(shown: sheet.Sheet, model: str, overwrite: bool) -> bool:
    """Write the contact sheet and say so, or why there is none; whether all is well."""
    try:
        count = shown.write(f"{shown.count} colored, before and after, by {model}", overwrite)
    except (ValueError, OSError) as error:
        say(f"sheet {shown.path}: not written: {folder.reason(error)}")
        return False
    say(f"sheet: {shown.path}, {count} of {shown.count}" if count else "no sheet: this run colored nothing")
    return True


def _model(arguments: Arguments, threads: int) -> runtime.Artefact:
    """The artefact, whose provider is told, and that it is the package's own where none was given."""
    path = arguments.model or runtime.shipped("chroma" if arguments.hints is None else "hints")
    artefact = runtime.load(path, arguments.provider, threads=threads)
    if arguments.require_provider and artefact.fallback:
        raise runtime.NoProvider("auto", artefact.fallback, "or leave out --require-provider to compute on the cpu")
    say(f"{_called(arguments, artefact)}, {runtime.place(artefact)}")
    return artefact


def _called(arguments: Arguments, artefact: runtime.Artefact) -> str:
    """What people are told that the model is."""
    return "the colorizer that comes with recolor_fast" if arguments.model is None else artefact.name


def _stream(source: str, output: str, settings: Settings) -> tuple[list[folder.Job], dict[str, Any]]:
    """The job of one image, and how its bytes are had and put: from stdin where `source` is "-", to stdout where
    `output` is. Raises UserError and OSError."""
    if output != "-" and os.path.isdir(output):
        raise UserError(f"output {output} is a folder: give a file, as stdin has no name")
    if output != "-":
        check_named(output, settings)
    if source != "-":
        folder.check([source], None if output == "-" else output)
        if os.path.isdir(source):
            raise UserError(f"input {source} is a folder: with - expected one image")
    with open(0 if source == "-" else source, "rb", closefd=source != "-") as file:
        status = os.fstat(file.fileno())
        data = file.read(outputs.MAX_BYTES + 1)
    header = images.header(BytesIO(data)) or images.Header("", 0, 0)
    target, format = folder.output_of(Path(output), header.format, settings.format, named=True)
    job = folder.Job(Path(source), None if output == "-" else target, format, header.width, header.height, len(data))
    job = job._replace(whole=None if output == "-" else folder.whole(target, header.format, named=True))
    if source != "-":
        job = job._replace(times=(status.st_atime_ns, status.st_mtime_ns))

    def fetch(job: folder.Job, plan: folder.Plan, lists: provenance.Lists) -> bytes:
        if source == "-" and not plan.overwrite and job.target is not None and os.path.lexists(job.target):
            raise folder.Verdict("failed", f"its output {job.target} exists; --overwrite replaces it")
        if verdict := outputs.done(job, plan, lists, partial(outputs.shows_color, plan=plan)):
            raise verdict
        return data

    def put(job: folder.Job, data: bytes, plan: folder.Plan) -> tuple[str, ...]:
        if job.target is not None:
            return outputs.put(job, data, plan)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return ()

    return [job], {"fetch": fetch, "put": put}
