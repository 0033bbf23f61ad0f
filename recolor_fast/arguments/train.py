"""What train takes: the options of a run, with the defaults of a preset, a file, or a run that is resumed."""

import argparse
import json
import math
import os
import re
import shlex
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, field, fields, is_dataclass, make_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_type_hints

import tyro

from recolor_fast.arguments import foreign
from recolor_fast.arguments.texts import metavar, texts
from recolor_fast.machine import launched, starting
from recolor_fast.machine.errors import UserError
from recolor_fast.options import PASSING, Command, Data, Session, System, Training, from_dict, marked, reopened
from recolor_fast.presets import DEFAULT, PRESETS, STARTS

PROG = "python -m recolor_fast.train"
COUNTS = ("per_class", "val_per_class", "classes")  # or None
OFTEN = (
    "preset data start images size batch learning_rate amp width generator critic terms lpips seed device threads "
    "name runs resume save_every dry_run"
).split()
PARTS = {  # title of a box of --help -> whose options are in it, but for those of a box before
    "photograph": Data,
    "network and loss": System,
    "training": Training,
    "machine": Session,
    "run folder": Command,
}
OWN = ("epochs", "options", "lr")  # options of the command line alone
HELP = """Train a colorizer.

Beside the options below: --lr is --learning-rate. --epochs N, which may be a fraction, sets images to N times the
photographs there are to train on. --options FILE.json, a run's options.json or a part of one, gives the defaults
instead of a preset."""


def first(argv: Sequence[str]) -> argparse.Namespace:
    """What decides the other options' defaults, and what is no option of a run.

    preset, start, runs, name, resume, device, epochs (0: not given); `fitting` is a preset that is taken because it
    fits the start, none being given; `default` are the options before the command line's; `rest` is the command line
    without what is read here alone. UserError for values of no use, and for options that other trainers call so.
    """
    foreign.check(argv, [*OWN, *(each.name for each in fields(Command))], foreign.TRAIN)
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--epochs", type=float, default=0.0)
    parser.add_argument("--options", default="")
    early, rest = parser.parse_known_args(argv)
    early.rest = [re.sub(r"^--lr(?==|$)", "--learning-rate", word) for word in rest]
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", default="")
    parser.add_argument("--start", default="")
    parser.add_argument("--runs", default=Command.runs)
    parser.add_argument("--name", default="")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--device", default="")
    parser.add_argument("--images", nargs="?")
    early, _ = parser.parse_known_args(early.rest, early)
    if any(re.match(r"--epochs(=|$)", word) for word in argv):
        if not (math.isfinite(early.epochs) and early.epochs > 0):
            raise UserError(f"epochs {early.epochs:g}: expected more than 0")
        if early.images is not None:
            raise UserError("--epochs and --images both say how long to train: give one of them")
    if early.options:
        for name in ("preset", "resume"):
            if getattr(early, name):
                raise UserError(f"--options and --{name} both say where options come from: give one of them")
        early.default, early.fitting = read(early.options), ""
        early.preset = early.default.preset
        if early.device not in ("", early.default.device):
            early.default = reopened(early.default)
        return early
    early.fitting = "" if early.preset else STARTS.get(early.start, "")
    early.preset = early.preset or early.fitting or DEFAULT
    if early.preset not in PRESETS:
        raise UserError(f"preset {early.preset!r}: expected one of {', '.join(PRESETS)}")
    early.default = PRESETS[early.preset]
    return early


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument "))


def read(path: str) -> Command:
    """The options of a JSON file, a run's or part of them; what it does not name is the preset's that it names.

    What says how one session is started (PASSING) is left out. UserError for a file, key or value of no use.
    """
    try:
        values = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"options {path}: not a readable JSON file ({error})") from error
    if not isinstance(values, dict):
        raise UserError(f"options {path}: expected names and values, as in a run's options.json")
    preset = values.get("preset", DEFAULT)
    if preset not in PRESETS:
        raise UserError(f"options {path}: preset {preset!r}: expected one of {', '.join(PRESETS)}")
    base = asdict(PRESETS[preset])
    for name, value in values.items():
        if name in base and not _fits(name, value, base[name]):
            raise UserError(f"options {path}: {name} {value!r}: expected something like {base[name]!r}")
    try:
        return from_dict(base | {key: values[key] for key in values.keys() - {*marked(PASSING)}})
    except UserError as error:
        raise UserError(f"options {path}: {error}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"options {path}: a value of another kind than its option's ({error})") from error


def _fits(name: str, value: Any, like: Any) -> bool:
    """Whether a value of a JSON file is of the kind of an option that is `like` this one."""
    if value is None or like is None:
        return name in COUNTS and (value is None or type(value) is int)
    if isinstance(like, float):
        return type(value) in (int, float)
    return isinstance(value, list) if isinstance(like, tuple) else type(value) is type(like)


def options(early: argparse.Namespace, default: Command) -> Command:
    """The options of a command line. SystemExit for --help and unknown words, UserError for values of no use."""
    return _answered(tuple(early.rest), default)


@cache  # asked before what takes seconds is imported, and again after it
def _answered(rest: tuple[str, ...], default: Command) -> Command:
    answers: Any = tyro.cli(_grouped(default), args=rest, prog=starting.usage(PROG), description=HELP)
    return Command(**{name: value for group in vars(answers).values() for name, value in vars(group).items()})


def _grouped(default: Command) -> type:
    """A dataclass of dataclasses, a group of options each, for tyro: it shows every group in a box of its own."""
    types, helps, boxes = get_type_hints(Command), _texts(), []
    for number, (title, names) in enumerate(groups().items()):
        options = []
        for name in names:
            shown = tyro.conf.arg(prefix_name=False, help=helps[name], metavar=metavar(types[name]))
            options.append((name, Annotated[types[name], shown], getattr(default, name)))
        group = make_dataclass(f"group{number}", options)
        box = Annotated[group, tyro.conf.arg(name=title, help="")]  # type: ignore[valid-type]
        boxes.append((f"group{number}", box, field(default_factory=group)))
    return make_dataclass("Groups", boxes)


def groups() -> dict[str, list[str]]:
    """The options as --help shows them: each once, by the title of its box."""
    boxes = {"often used": OFTEN}
    for title, part in PARTS.items():
        before = {name for names in boxes.values() for name in names}
        boxes[title] = [each.name for each in fields(part) if each.name not in before]
    return boxes


def _texts() -> dict[str, str]:
    return {name: text for part in Command.__mro__ if is_dataclass(part) for name, text in texts(part).items()}


def parse(argv: list[str]) -> None:
    """Raise what `options` raises, as far as can be told without looking at a run that is resumed.

    Of several processes that a launcher started the first one speaks; the others end without a word.
    """
    if not launched.rank():
        _parse(argv)
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        try:
            _parse(argv)
        except (UserError, SystemExit) as error:
            time.sleep(1)  # the launcher stops all as soon as one ends, and the first may not have spoken yet
            raise SystemExit(error.code if isinstance(error, SystemExit) else error.exit_code) from error


def _parse(argv: list[str]) -> None:
    launched.place()
    early = first(argv)
    launched.check_restarts(named=bool(early.name and early.resume))
    try:
        options(early, early.default)
    except UserError:
        if not early.resume:  # else its options are the defaults, and may go with these
            raise


def public(argv: Sequence[str]) -> str:
    """A command line as a shell takes it, of each path its last name alone: nothing of this machine's folders."""
    words = []
    for word in argv:
        name, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        last = re.split(r"[/\\]", value.rstrip("/\\"))[-1]
        words.append(f"{name}{equals}{last or value}")
    return f"{PROG} {shlex.join(words)}".rstrip()
