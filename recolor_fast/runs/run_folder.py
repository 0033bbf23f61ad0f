"""Run folders: their names, what they hold, and whether a run can be resumed."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path

from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import is_part, write_text
from recolor_fast.options import CHOSEN_PER_SESSION, PASSING, Command, Options, from_dict, marked
from recolor_fast.runs import checkpoint

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LOCK = "lock"  # in a run folder: held by who trains in it


def find(runs: Path, name: str, preset: str) -> Path | None:
    """The run to resume: runs/name if it holds a run, else (no name) the preset's newest that has a checkpoint.

    Says on stderr where there is no checkpoint to resume from; None where there is no run at all.
    """
    trained = [folder for folder in numbered(runs, preset) if checkpoint.list_checkpoints(folder / "checkpoints")]
    folder = runs / name if name else trained[-1] if trained else None
    if folder is None or not checkpoint.list_checkpoints(folder / "checkpoints"):
        print(f"resume: no checkpoint in {folder or runs / (preset + '-<n>')}: starting it", file=sys.stderr)
    return folder if folder and (folder / "options.json").is_file() else None


def numbered(runs: Path, preset: str) -> list[Path]:
    """The folders <runs>/<preset>-<n>, by n."""
    named = [(path.name.removeprefix(f"{preset}-"), path) for path in runs.glob(f"{preset}-*")]
    return [path for _, path in sorted((int(n), path) for n, path in named if n.isdecimal())]


def newest(runs: Path = Path(Command.runs)) -> Path:
    """The run in a folder of runs whose checkpoint was written last; said on stderr. UserError where there is none."""
    written = {}
    for folder in runs.iterdir() if runs.is_dir() else ():
        if paths := checkpoint.list_checkpoints(folder / "checkpoints"):
            written[folder] = max(path.stat().st_mtime for path in paths)
    if not written:
        raise UserError(
            f"no run is given, and {runs}/ holds none with a checkpoint: give the folder that train printed"
        )
    run = max(written, key=lambda folder: (written[folder], folder.name))
    print(f"run: {run}, the newest", file=sys.stderr)
    return run


def create(options: Command) -> Path:
    """Make a new run folder, <preset>-<n> or the given name. UserError if that name is taken."""
    runs = Path(options.runs)
    if options.name:
        folder = runs / options.name
        check_free(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    runs.mkdir(parents=True, exist_ok=True)
    taken = numbered(runs, options.preset)
    n = int(taken[-1].name.rsplit("-", 1)[1]) + 1 if taken else 1
    while True:
        try:
            (runs / f"{options.preset}-{n}").mkdir()
            return runs / f"{options.preset}-{n}"
        except FileExistsError:  # another training has just taken it
            n += 1


def check_free(folder: Path) -> None:
    """UserError where a folder holds something that is not left of a start that was killed."""
    ours = folder.iterdir() if folder.is_dir() else [folder] if folder.exists() else []
    if any(path.name != LOCK and not is_part(path) for path in ours):
        raise UserError(f"{folder} exists and is not empty: give another --name, or --resume to resume it")


def stored_options(folder: Path) -> Command:
    """The options of a run folder. UserError if its options.json cannot be read."""
    try:
        return from_dict(json.loads((folder / "options.json").read_text()))
    except (OSError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{folder / 'options.json'}: not the options of a run ({error})") from error


def check_same(folder: Path, options: Options) -> None:
    """UserError naming the first option that differs from the run's own and is part of what is trained."""
    stored = stored_options(folder)
    for field in fields(Options):
        old, new = getattr(stored, field.name), getattr(options, field.name)
        if old != new and field.name not in CHOSEN_PER_SESSION:
            raise UserError(
                f"{folder} was trained with {field.name} {old!r}, not {new!r}, which --resume cannot change: start "
                f"another run for that, with --start {folder} from its weights where they fit"
            )
    if options.decay and options.decay == stored.decay and options.images != stored.images:
        raise UserError(
            f"{folder}: its learning rate falls to 0 at {stored.images} photographs (decay {options.decay:g}), "
            f"so {options.images} would be another training: expected {stored.images}, another --decay as well, or "
            "--start another run from it"
        )


def note_changes(run: Path, options: Command, seen: int) -> None:
    """Add a line to a run's changes.jsonl where options differ from its options.json, which they are to replace.

    It says from how many photographs `seen` on, and what each changed option was before and is now.
    """
    if not (run / "options.json").is_file():
        return
    before, now, passing = asdict(stored_options(run)), asdict(options), marked(PASSING)
    changed = {name: [before[name], now[name]] for name in now if now[name] != before[name] and name not in passing}
    if changed:
        path = run / "changes.jsonl"
        told = path.read_text() if path.is_file() else ""
        write_text(path, f"{told}{json.dumps({'images': seen, 'changed': changed})}\n")


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """While the block runs no other process trains in a run folder; UserError where one does.

    The lock ends with the process, however that ends. On a system or disk that has none, nothing is locked.
    """
    with open(run / LOCK, "ab") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"{run}: another process trains in it; wait until it has ended, stop it, or give another --name"
                ) from error
            except OSError as error:
                print(f"warning: {run} cannot be locked ({error.strerror}): train in it only once", file=sys.stderr)
        yield


def clean(run: Path) -> None:
    """Remove what killed writes left in a run folder. Only while it is locked."""
    for folder in (run, run / "checkpoints", run / "samples"):
        checkpoint.clean(folder)
