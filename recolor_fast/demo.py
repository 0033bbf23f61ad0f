"""Verb: from nothing to a colored folder in a few minutes, by the same commands a user types; it prints each.

`python -m recolor_fast.demo` colors a folder of gray photographs with the colorizer that comes with the package, trains
the paper's final system at a small size on the sample photographs of scikit-image, exports it, and colors the folder
with that too. A second time it trains and colors nothing that is there already.
"""

if __name__ == "__main__":
    from recolor_fast.machine import starting

    starting.run("recolor_fast.demo", arguments="demo")

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np

from recolor_fast.arguments.demo import parse
from recolor_fast.data import sources
from recolor_fast.evaluation import plots
from recolor_fast.machine import starting
from recolor_fast.photographs import encoders, images

FOLDER = Path("demo")
TRAIN = (
    "-m recolor_fast.train --amp --data sample --size 64 --width 16 --images 800 --save-every 400 --samples 5 "
    "--adversary-weight 0.3 "
    "--runs demo/runs --name sample --resume"
)
EXPORT = "-m recolor_fast export demo/runs/sample --out demo/colorizer.onnx"
COLORIZE = "-m recolor_fast.colorize demo/gray demo/colored --model demo/colorizer.onnx"
AT_ONCE = "-m recolor_fast.colorize demo/gray demo/shipped"
GRAY_ONLY = ("camera.png", "brick.png", "grass.png")  # of scikit-image: photographs that never had a color


def write_gray(folder: Path) -> list[Path]:
    """Gray JPEGs of the sample photographs and of three that were never trained on; existing ones stay."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = sources.sample()
    written = []
    for path in (*sample, *(sample[0].with_name(name) for name in GRAY_ONLY)):
        written.append(folder / f"{path.stem}.jpg")
        if not written[-1].exists():
            encoders.write(written[-1], _gray(path), None, "JPEG", 95)
    return written


def _gray(path: Path) -> np.ndarray:
    return np.repeat(images.gray(images.read_rgb(path.read_bytes()))[..., None], 3, 2)


@starting.verb()
def main(argv: list[str]) -> int:
    """Run the verb; returns the exit code of the first command that fails, else 0."""
    color_only = parse(argv).color_only
    gray = write_gray(FOLDER / "gray")
    words = (AT_ONCE,) if color_only else (AT_ONCE, TRAIN, EXPORT, COLORIZE)
    commands = [f"{Path(sys.executable).name} {arguments}" for arguments in words]
    for command in commands:
        print(f"\n$ {command}", file=sys.stderr, flush=True)
        code = subprocess.run([sys.executable, *shlex.split(command)[1:]], check=False).returncode
        if code:
            return code
    columns = {"gray": "gray", "by what comes with recolor_fast": "shipped"}
    if not color_only:
        columns["by what was trained here"] = "colored"
    shown = {title: [_small(FOLDER / folder / path.name) for path in gray] for title, folder in columns.items()}
    plots.grid(FOLDER / "colored.png", shown)
    print(SEE if color_only else "\n  ".join(["\nThe commands were:", *commands]) + f"\n{RESULTS}", file=sys.stderr)
    print(FOLDER)
    return 0


SEE = f"{FOLDER}/colored.png shows what the colorizer that comes with recolor_fast makes of gray photographs.\n"
RESULTS = f"""\
The results are in {FOLDER}/: runs/sample (losses, samples, checkpoints), colorizer.onnx,
gray/, colored/ by that one, shipped/ by the colorizer that comes with recolor_fast, and all side by side in
colored.png. Five photographs teach five photographs: train on more (see docs/training.md).
To color photographs of your own at once:
  source {Path(sys.prefix).name}/bin/activate
  python -m recolor_fast.colorize photos colored"""


def _small(path: Path) -> np.ndarray:
    return images.resize(images.read_rgb(path.read_bytes()), 160, 240)
