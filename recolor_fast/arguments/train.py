"""What train takes: the options of a run, with the defaults of a preset."""

import argparse

import tyro

from recolor_fast.errors import UserError
from recolor_fast.options import Options
from recolor_fast.presets import DEFAULT, PRESETS, STARTS

PROG = "python -m recolor_fast.train"


def first(argv: list[str]) -> argparse.Namespace:
    """What decides the other options' defaults: preset, start, runs, name, resume, device; `fitting` is a preset that
    is taken because it fits the start, none being given. UserError for an unknown preset."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", default="")
    parser.add_argument("--start", default="")
    parser.add_argument("--runs", default=Options.runs)
    parser.add_argument("--name", default="")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--device", default="")
    early, _ = parser.parse_known_args(argv)
    early.fitting = "" if early.preset else STARTS.get(early.start, "")
    early.preset = early.preset or early.fitting or DEFAULT
    if early.preset not in PRESETS:
        raise UserError(f"preset {early.preset!r}: expected one of {', '.join(PRESETS)}")
    return early


def options(argv: list[str], default: Options) -> Options:
    """The options of a command line. SystemExit for --help and unknown words, UserError for values of no use."""
    return tyro.cli(Options, default=default, args=argv, prog=PROG)


def parse(argv: list[str]) -> None:
    """Raise what `options` raises, as far as can be told without looking at a run that is gone on with."""
    early = first(argv)
    try:
        options(argv, PRESETS[early.preset])
    except UserError:
        if not early.resume:  # else its options are the defaults, and may go with these
            raise
