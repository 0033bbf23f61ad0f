"""A run's newest or best checkpoint -> the generator's weights as one .safetensors file, for release.

`recolor-fast export-safetensors [RUN]` prints the file's path as its last line on stdout. It holds float32 tensors and,
as metadata, what it takes to build the generator: it can be evaluated and exported instead of the run, and reading
it runs no code. Exit codes: 0 done, 2 a run that cannot be used or a file that cannot be written.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.export.to_safetensors", arguments="to_safetensors")

import json
from importlib.metadata import version
from pathlib import Path

from safetensors.torch import save

from recolor_fast.arguments.to_safetensors import parse
from recolor_fast.artefact import card
from recolor_fast.machine import starting
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import print_path, replacing
from recolor_fast.options import to_json
from recolor_fast.runs import csv_rows, learned, run_folder


def metadata(run: Path, trained: learned.Trained) -> dict[str, str]:
    """What the file says of its weights: options, photographs seen, version, and the validation row where there is one.

    The options are those of the run without the paths of its machine.
    """
    told = {
        "options": to_json(learned.public(trained.options)),
        "images": str(trained.images),
        "version": version("recolor-fast"),
    }
    rows = {int(row["images"]): row for row in csv_rows.validation(run)}
    if trained.images in rows:
        told["validation"] = json.dumps(rows[trained.images])
    return {f"{learned.PREFIX}{key}": value for key, value in told.items()}


@starting.verb(stopped="interrupted; nothing is written", told={OSError: 2})
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code."""
    arguments = parse(argv)
    run = arguments.run or run_folder.newest()
    if run.is_file():
        raise UserError(f"{run}: expected a run folder, not a file")
    folder, name = learned.named(run)
    out = arguments.out or folder / f"{name}.safetensors"
    if out.suffix != ".safetensors" or (out.exists() and not arguments.overwrite):
        raise UserError(
            f"out {out}: expected a name that ends in .safetensors, of no file that exists (or --overwrite)"
        )
    trained = learned.trained(run, arguments.best)
    told = metadata(run, trained)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as file:
        file.write(save(trained.generator.state_dict(), told))
    plain = {key.removeprefix(learned.PREFIX): value for key, value in told.items()}
    card.write(card.path_of(out), card.text(out.name, plain, card.measured(run, plain["options"], trained.images)))
    print_path(out)
    return 0
