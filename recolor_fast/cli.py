"""The front door, `recolor-fast VERB`: which verbs there are, and how one is started. --help imports little."""

import sys
from typing import NamedTuple

from recolor_fast.machine import starting
from recolor_fast.machine.errors import UserError


class Verb(NamedTuple):
    name: str
    module: str
    """It starts as `python -m` starts it."""
    line: str
    """What it does, in a line."""


VERBS = (
    Verb("colorize", "recolor_fast.colorize", "color gray photographs, files or folders of them; needs no torch"),
    Verb("train", "recolor_fast.train", "train a colorizer"),
    Verb(
        "evaluate",
        "recolor_fast.evaluate",
        "measure colorizers on photographs: the papers' tables and figures",
    ),
    Verb("plot", "recolor_fast.plot", "draw what runs have logged, several in one picture; needs no torch"),
    Verb("shards", "recolor_fast.shards", "pack a folder's photographs into tar files to train on, as WebDataset does"),
    Verb("export", "recolor_fast.export.to_onnx", "write a run as one ONNX file, proven against torch"),
    Verb("export-safetensors", "recolor_fast.export.to_safetensors", "write a run's weights as one file, for release"),
    Verb("export-tensorrt", "recolor_fast.export.to_tensorrt", "build a TensorRT engine of an ONNX file for this GPU"),
    Verb("study", "recolor_fast.study", "ask people which colors are real"),
    Verb("serve", "recolor_fast.serve", "a local page to color photographs with, and an HTTP API"),
    Verb("web", "recolor_fast.web", "the same page as files for any web host: all work is done in the browser"),
    Verb("doctor", "recolor_fast.doctor", "what works on this machine, and what to type where something does not"),
    Verb("benchmark", "recolor_fast.doctor.benchmark", "how fast this machine trains, loads and colors: a minute"),
    Verb("demo", "recolor_fast.demo", "color, train, export and color again, at a small size"),
    Verb("completion", "recolor_fast.arguments.completion", "print what makes bash or zsh complete these words"),
)

HELP = f"""usage: {starting.PROGRAM} VERB ...

Color gray photographs; train, evaluate and export colorizers.

{chr(10).join(f"  {verb.name:20} {verb.line}" for verb in VERBS)}

{starting.PROGRAM} VERB --help shows what a verb takes; --version shows what is installed."""


@starting.verb()
def main(argv: list[str]) -> int:
    """Start the verb that the first word names; it ends the process."""
    if not argv:
        print(HELP, file=sys.stderr)
        return 2
    name, *words = argv
    if name in ("--help", "-h", "--version"):
        print(_versions() if name == "--version" else HELP)
        sys.stdout.flush()  # a closed pipe is found here, not when Python ends
        return 0
    module = next((verb.module for verb in VERBS if verb.name == name), "")
    if not module:
        raise UserError(unknown(name))
    sys.argv[:] = [f"{starting.PROGRAM} {name}", *words]
    import runpy

    runpy.run_module(module, run_name="__main__")
    raise AssertionError(f"{module} does not end the process")


def _versions() -> str:
    from recolor_fast.machine import versions

    return versions.lines()


def unknown(name: str) -> str:
    """What is said of a word that is no verb."""
    import difflib

    names = [verb.name for verb in VERBS]
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.5)
    advice = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(names)}"
    return f"unknown verb {name!r}: {advice}"
