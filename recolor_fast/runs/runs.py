"""Run folders: their names, what they hold, and whether a run can be resumed."""

import csv
import io
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import SHIPPED, is_part, write_text
from recolor_fast.networks.critics import build_critic
from recolor_fast.networks.generators import build_generator
from recolor_fast.options import CHOSEN_PER_SESSION, FILE, PASSING, Command, Options, from_dict, marked, only
from recolor_fast.presets import STARTS
from recolor_fast.runs import checkpoint

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

OWN = "shipped"  # as a start: the weights of the colorizer that comes with the package (./shipped is a folder)
WEIGHTS = SHIPPED / "colorizer.safetensors"
LOCK = "lock"  # in a run folder: held by who trains in it
PREFIX = "recolor_fast."  # of the metadata of a .safetensors file, as of an artefact's


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
        ours = folder.iterdir() if folder.is_dir() else [folder] if folder.exists() else []
        if any(path.name != LOCK and not is_part(path) for path in ours):
            raise UserError(f"{folder} exists and is not empty: give another --name, or --resume to resume it")
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


def stored_options(folder: Path) -> Command:
    """The options of a run folder. UserError if its options.json cannot be read."""
    try:
        return from_dict(json.loads((folder / "options.json").read_text()))
    except (OSError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{folder / 'options.json'}: not the options of a run ({error})") from error


class Weights(NamedTuple):
    """What a run has trained, as it is stored."""

    path: Path
    """The checkpoint, or the .safetensors file."""
    options: Options
    generator: dict[str, Tensor]
    critic: dict[str, Tensor]
    """Of a checkpoint of options that have one; else empty."""
    images: int
    """Photographs seen."""


class Trained(NamedTuple):
    """The networks of a checkpoint, on the CPU, the generator in eval mode."""

    options: Options
    generator: nn.Module
    critic: nn.Module | None
    images: int
    """Photographs seen."""


def stored(path: Path, best: bool = False) -> Weights:
    """What a run has trained: of its newest checkpoint, or of its `best`, the lowest ab_rmse in validation.csv.

    Or what is in a .safetensors file that export/to_safetensors.py wrote. UserError where there is no such run,
    checkpoint or file. Checkpoints that do not verify are skipped, which is said on stderr.
    """
    if path.suffix == ".safetensors" and path.is_file():
        if best:
            raise UserError(f"{path}: it holds one checkpoint; the best is chosen among those of a run folder")
        return _released(path)
    folder = path / "checkpoints"
    newest = checkpoint.first(_by_error(path)) if best else checkpoint.newest(folder)
    if not newest:
        raise UserError(
            f"{path}: no usable checkpoint of it has an ab_rmse in validation.csv, so none is known to be the best; "
            "take the newest"
        )
    path, state = newest
    with _understood(path):
        options = only(Options, from_dict(json.loads(state["options"])))
        critic = state["step"]["critic"] if options.critic else {}
        return Weights(path, options, state["step"]["generator"], critic, state["images"])


def _released(path: Path) -> Weights:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a readable .safetensors file ({error})") from error
    if f"{PREFIX}options" not in metadata:
        raise UserError(
            f"{path}: its metadata has no {PREFIX}options; expected a file that export/to_safetensors.py wrote"
        )
    with _understood(path):
        options = only(Options, from_dict(json.loads(metadata[f"{PREFIX}options"])))
        return Weights(path, options, weights, {}, int(metadata[f"{PREFIX}images"]))


@contextmanager
def _understood(path: Path) -> Iterator[None]:
    """UserError where what a checkpoint or .safetensors file holds is not what the block expects."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        what = "generator" if path.suffix == ".safetensors" else "checkpoint"
        raise UserError(f"{path}: not a {what} of this version of recolor_fast ({error})") from error


def trained(path: Path, best: bool = False) -> Trained:
    """The networks of what a run has trained, or of a .safetensors file. UserError as `stored`."""
    weights = stored(path, best)
    options = weights.options
    with _understood(weights.path):
        with torch.device("meta"):  # so that a file that says its network is huge does not take all memory
            plain = build_generator(replace(options, spectral_norm=False))
        said, held = (sum(t.numel() for t in ts) for ts in (plain.parameters(), weights.generator.values()))
        if said > held:
            raise UserError(f"its options say {said} weights and more, it holds {held} numbers")
        generator = build_generator(options)
        generator.load_state_dict(weights.generator)
        critic = build_critic(options) if weights.critic else None
        if critic:
            critic.load_state_dict(weights.critic)
        return Trained(options, generator.eval(), critic, weights.images)


def start(options: Options, own: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The weights that a run of these options starts from: of the generator that `options.start` has trained.

    They are to fit `own`, the state of the generator of these options (None: one is built for its shapes). UserError
    where there is none there, or its weights are others.
    """
    expected = f"expected a run folder, a .safetensors file of export/to_safetensors.py, or {OWN}"
    try:
        weights = stored(WEIGHTS if options.start == OWN else Path(options.start)).generator
    except UserError as error:
        raise UserError(f"start {options.start}: {error}; {expected}") from error
    if own is None:
        with torch.device("meta"):
            own = build_generator(options).state_dict()
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in (own, weights)]
    new = {name for name in own if name.startswith("hinted.")} - {*weights}  # a start without hints can learn them
    misfits = [name for name in {**own, **weights} if shapes[0].get(name) != shapes[1].get(name) and name not in new]
    if misfits:
        raise UserError(
            f"start {options.start}: {misfits[0]} is {list(shapes[1].get(misfits[0], ()))} there and "
            f"{list(shapes[0].get(misfits[0], ()))} by the options: {expected}, of the same generator, width, "
            "norms and space, and but for residual and lite the same size"
            + (f"; --preset {STARTS[options.start]} has those of {options.start}" if options.start in STARTS else "")
        )
    return weights


def named(path: Path) -> tuple[Path, str]:
    """The folder that what is made of a run (or of a .safetensors file) goes to by default, and what it is called."""
    return (path.parent, path.stem) if path.is_file() else (path, path.resolve().name)


def public(options: Options) -> Options:
    """Options without the verb's own and without the paths of the machine that a run was trained on."""
    files = {name: Path(getattr(options, name)).name for name in marked(FILE)}
    return replace(only(Options, options), **files)  # type: ignore[arg-type]


def validation(run: Path) -> list[dict[str, str]]:
    """The complete rows of a run's validation.csv, in order; none where there is no such file."""
    return _complete(run / "validation.csv")[1]


def best(run: Path) -> int | None:
    """The photographs seen of the checkpoint that exists with the lowest ab_rmse in validation.csv; None if none is.

    Rows without a finite number do not count; of equal ones the earlier is the best.
    """
    return next((int(path.stem) for path in _by_error(run)), None)


def _by_error(run: Path) -> list[Path]:
    """The checkpoints that validation.csv has an ab_rmse of, the lowest first, then the earliest."""
    errors = {}
    for row in validation(run):
        try:
            errors[int(row["images"])] = float(row["ab_rmse"])
        except (KeyError, ValueError):
            continue
    known = [path for path in checkpoint.list_checkpoints(run / "checkpoints") if int(path.stem) in errors]
    finite = [path for path in known if math.isfinite(errors[int(path.stem)])]
    return sorted(finite, key=lambda path: errors[int(path.stem)])


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


def _complete(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a CSV file that Rows wrote, without the half of one that a kill may leave.

    Rows count whose "images" is a number, larger than that of the row before.
    """
    if not path.is_file():
        return [], []
    text = path.read_bytes().decode(errors="replace")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1], newline=""))
    columns: list[str] = []
    rows: list[dict[str, str]] = []
    seen = -1
    with suppress(csv.Error):  # damaged: what comes before it counts
        columns = list(reader.fieldnames or [])
        for row in reader:
            number = row.get("images") or ""
            if None not in row and None not in row.values() and number.isdecimal() and int(number) > seen:
                rows.append(row)
                seen = int(number)
    return columns, rows


class Rows:
    """A CSV file that grows a dict at a time, each on the disk before `add` returns, by ascending photographs seen.

    On opening, rows past `seen` photographs (a resumed run repeats them) and what a kill left of one are cut.
    """

    def __init__(self, path: Path, seen: int) -> None:
        """UserError where the file is none of this kind."""
        self.path = path
        self.columns, rows = _complete(path)
        if self.columns and "images" not in self.columns:
            raise UserError(f"{path}: its columns are {', '.join(self.columns)}; expected images among them: remove it")
        rows = [row for row in rows if int(row["images"]) <= seen]
        self.last = int(rows[-1]["images"]) if rows else -1
        self._row = rows[-1] if rows else {}
        if path.is_file():
            self._write(rows)

    def number(self, name: str) -> float:
        """What the last row had in a column when the file was opened; 0 where that is no number."""
        try:
            value = float(self._row.get(name) or 0)
        except ValueError:
            return 0.0
        return value if math.isfinite(value) else 0.0

    def _write(self, rows: list[dict[str, str]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, restval="")
        if self.columns:
            writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())

    def add(self, row: dict[str, Any]) -> None:
        """Append a row, its floats with six digits. Columns that are new are added, the rows before have them empty.

        A row of no more photographs ("images") than the last one is left out: that one stays. OSError, with the file as
        it was, where the disk is full or fails.
        """
        if row["images"] <= self.last:
            return
        try:
            new = [name for name in row if name not in self.columns]
            if new or not self.path.is_file():
                rows = _complete(self.path)[1]
                self.columns = [*self.columns, *new]
                self._write(rows)
            text = io.StringIO()
            values = {key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
            csv.DictWriter(text, self.columns, restval="").writerow(values)
            _append(self.path, text.getvalue().encode())
        except OSError as error:
            raise OSError(
                f"{self.path}: no row could be added ({error.strerror or error}); make room on that disk, or fix what "
                "the reason names, and continue with --resume"
            ) from error
        self.last = row["images"]


def _append(path: Path, data: bytes) -> None:
    """Append to a file and flush it to the disk; on an error it is as long as before."""
    size = path.stat().st_size
    try:
        with open(path, "ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            os.truncate(path, size)
        raise
