"""Verb: what runs have logged, several in one picture. `python -m recolor_fast.plot RUN...`; needs no torch.

Prints the picture's path. Exit codes: 0 done, 1 it could not be written, 2 options or runs that cannot be used.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.plot", arguments="plot")

import os
from collections.abc import Sequence
from pathlib import Path

from recolor_fast.arguments import plot as words
from recolor_fast.machine import starting
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import print_path
from recolor_fast.runs import curves


def names(folders: Sequence[Path]) -> list[str]:
    """The names of run folders, with those of the folders above where they are alike. UserError for one twice."""
    parts = [folder.resolve().parts for folder in folders]
    if len(set(parts)) < len(parts):
        raise UserError("a run is given twice: expected each run folder once")
    depths = range(1, max(map(len, parts)) + 1)
    told = ([os.path.join(*one[-depth:]) for one in parts] for depth in depths)
    return next(each for each in told if len(set(each)) == len(each))


@starting.verb(told={OSError: 1})
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = words.parse(argv)
    runs = dict(zip(names(arguments.runs), map(curves.read, arguments.runs)))
    caption = f"Thin: as logged. Thick: mean over {arguments.smoothing:.0%} of a run's rows, 3 at least."
    try:
        curves.draw(arguments.out, runs, arguments.by, arguments.smoothing, caption, not arguments.overwrite)
    except FileExistsError as error:
        raise UserError(f"{arguments.out} exists: give another --out, or --overwrite") from error
    except FileNotFoundError as error:
        raise UserError(f"{arguments.out}: its folder does not exist") from error
    print_path(arguments.out)
    return 0
