"""Every system of both papers, trained at one stated scale, evaluated on the same photographs, tables and figures kept.

    python bench/reproduce.py --data IMAGENETTE [--weights DIR]     all presets, small; bench/results/papers-<device>.md
    python bench/reproduce.py --full padova --dry-run               the exact commands of a paper's own runs
    python bench/reproduce.py --sweep lpips --data IMAGENETTE       weights of LPIPS; bench/results/sweep-lpips-cpu.md

A second call resumes where the first one stopped: runs are resumed, finished ones are kept.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Reproduce as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import json
import os
import shlex
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from PIL import Image

from bench import sweep
from recolor_fast.losses.features import FEATURES, LPIPS
from recolor_fast.machine.files import replacing
from recolor_fast.options import Options, from_dict
from recolor_fast.presets import PAPERS

# Loss networks that a folder of weights stands in with, where torchvision's are missing: file, term, weight. The
# weight of LPIPS-style features without heads is 5: at 50 their gradient drowns everything (bench/LOG.md). The VGG19 is
# Caffe's with its preprocessing folded into the first layer, so the paper's 1e-5 is at home there.
STAND_INS = {
    "lpips_alex": ("squeezenet1_1_fp16.safetensors", "lpips_style_squeeze", 5.0),
    "vgg16_keras": ("vgg19_to_conv3_4.safetensors", "vgg19", 1e-5),
}
FAMILIES = {"padova": lambda o: o.space == "rgb", "tarres": lambda o: o.space == "lab"}
RESULTS = Path(__file__).parent / "results"
FIGURES = ("fig2_histograms", "fig8_generator_loss", "fig9_critic_loss")
PICTURES = ("fig5_side_by_side", "contact_sheet")  # hold photographs, which are not ours to publish: they stay in --out


def small(options: Options, arguments: Arguments) -> list[str]:
    """The arguments by which a preset's small run differs from it."""
    flags = f"--size {arguments.size} --width {arguments.width} --images {arguments.images} --amp".split()
    flags += ["--batch", str(min(options.batch, arguments.batch)), "--save-every", str(arguments.images)]
    flags += ["--per-class", str(options.per_class or 50), "--val-per-class", "15", "--log-every", "50"]
    if options.adversary == "wgan":
        flags += ["--adversary-weight", str(options.adversary_weight * options.size / arguments.size)]
    networks = [name for name, _ in options.terms if name in FEATURES or name in LPIPS]
    if arguments.weights and networks:
        terms = dict(options.terms)
        weight = terms.pop(networks[0])
        file, term = "random", networks[0]
        if networks[0] in STAND_INS:
            name, term, weight = STAND_INS[networks[0]]
            file = str(arguments.weights.resolve() / name)
        terms[term] = weight
        flags += ["--terms", *(str(value) for pair in terms.items() for value in pair), "--feature-weights", file]
        flags += ["--lpips", term] if term in LPIPS else []
    return flags


def commands(arguments: Arguments) -> dict[str, list[str]]:
    """Preset -> the command (without the interpreter) that trains it."""
    result = {}
    for name, options in PAPERS.items():
        if (arguments.only and name not in arguments.only) or not (
            arguments.full == "none" or FAMILIES[arguments.full](options)
        ):
            continue
        flags = small(options, arguments)
        if arguments.full != "none":
            flags = ["--amp", "--per-class", str(options.per_class or 50)]
            flags += ["--val-per-class", str(options.val_per_class or 15)]
        place = ["--data", arguments.data, "--runs", str(arguments.out / "runs"), "--name", name, "--resume"]
        result[name] = ["-m", "recolor_fast.train", "--preset", name, *place, *flags]
    return result


def swept(arguments: Arguments) -> dict[str, list[str]]:
    """Name of a run -> the command that trains it, one for each weight of the sweep's term."""
    preset, term, weights = sweep.SWEEPS[arguments.sweep]
    options = PAPERS[preset]
    network, scale = term, 1.0
    flags = plain = small(options, replace(arguments, weights=None))
    if arguments.weights:
        file, network, most = STAND_INS[term]
        scale = most / dict(options.terms)[term]
        flags = [*plain, "--feature-weights", str(arguments.weights.resolve() / file), "--lpips", network]
    others = [str(word) for pair in options.terms if pair[0] != term for word in pair]
    result = {}
    for weight in weights:
        name = sweep.name(arguments.sweep, weight)
        place = ["--data", arguments.data, "--runs", str(arguments.out / "runs"), "--name", name, "--resume"]
        terms = ["--terms", *others, *([network, f"{weight * scale:g}"] if weight else [])]
        result[name] = ["-m", "recolor_fast.train", "--preset", preset, *place, *(flags if weight else plain), *terms]
    return result


def evaluation(arguments: Arguments, names: list[str]) -> list[str]:
    """The command that evaluates the runs of these presets."""
    size = 256 if arguments.full != "none" else arguments.size
    command = ["-m", "recolor_fast.evaluate", *(str(arguments.out / "runs" / name) for name in names)]
    command += ["--data", arguments.data, "--out", str(arguments.out / "evaluation"), "--size", str(size)]
    if arguments.full == "tarres":
        command += ["--val-per-class", "10"]
    else:
        command += ["--val-per-class", "15", "--limit", str(arguments.photographs)]
    command += ["--overwrite"]
    if arguments.weights:
        file = str(arguments.weights / STAND_INS["lpips_alex"][0])
        command += ["--lpips-weights", file, "--classifier-weights", file]
    return command


def run(command: list[str], threads: int, log: Path) -> int:
    """Run a command, its output in a file; returns the exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with open(log, "ab") as file:
        return subprocess.run([sys.executable, *command], stdout=file, stderr=file, env=environment).returncode


def table(arguments: Arguments, device: str) -> Path:
    """bench/results/papers-<device>.md; of small runs of a size of their own papers-<device>-<size>.md, beside it."""
    own = arguments.full == "none" and arguments.size != Arguments().size
    return RESULTS / f"papers-{device}{f'-{arguments.size}' if own else ''}.md"


def report(arguments: Arguments, trained: list[str], failed: list[str], hours: float) -> Path:
    """The evaluation's tables as `table`, and its plots in a folder beside it; the table's path."""
    folder = arguments.out / "evaluation"
    device = json.loads((arguments.out / "runs" / trained[0] / "options.json").read_text())["device"]
    target = table(arguments, device)
    figures = target.with_suffix("")
    figures.mkdir(parents=True, exist_ok=True)
    shown = []
    for name in FIGURES:
        if (folder / f"{name}.png").is_file():
            Image.open(folder / f"{name}.png").quantize(64).save(figures / f"{name}.png", optimize=True)
            shown.append(f"![{name}]({figures.name}/{name}.png)")
    scale = (
        f"Every preset as it stands (`--full {arguments.full}`)."
        if arguments.full != "none"
        else f"Scale: {arguments.size} pixels, width {arguments.width}, {arguments.images} photographs seen, batch "
        f"{arguments.batch} at most, bfloat16; far below the papers', so orders between systems are indications only. "
    )
    if arguments.weights and arguments.full == "none":
        words = "; ".join(
            f"{old} is replaced by {new} at weight {weight:g}" for old, (_, new, weight) in STAND_INS.items()
        )
        scale += f"Loss networks standing in: {words}; all others have random weights (structure only)."
    other = [
        f"{name} ({', '.join(f'{term} {weight:g}' for term, weight in terms)})"
        for name in trained
        if (terms := _terms(arguments.out / "runs" / name)) != PAPERS[name].terms
    ]
    scale += f" Trained with other terms than the preset's: {', '.join(other) or 'none'}. The padova-code rows are "
    scale += "trained on one class, as their code was, and evaluated on all."
    lines = ["# Both papers' systems, trained and evaluated by bench/reproduce.py", "", scale, ""]
    lines += [
        f"Training took {hours:.2f} hours in this call." + (f" Failed: {', '.join(failed)}." if failed else ""),
        "",
    ]
    tables = (folder / "tables.md").read_text().replace(str(Path.home()), "~")
    left = f"The pictures ({', '.join(PICTURES)}) hold photographs and stay in the evaluation's folder."
    with replacing(target) as file:
        file.write("\n".join([*lines, tables, "", *shown, "", left, ""]).encode())
    return target


def _terms(run: Path) -> tuple[tuple[str, float], ...]:
    return from_dict(json.loads((run / "options.json").read_text())).terms


def main(argv: list[str] | None = None) -> int:
    """Run the script; returns the exit code: 1 where a system failed to train, the others are reported."""
    arguments = parse(Arguments, argv)
    if arguments.sweep != "none" and (arguments.only or arguments.full != "none"):
        print("error: sweep with only or full: a sweep has its own system and scale; give one of them", file=sys.stderr)
        return 2
    if arguments.full != "none" and arguments.weights:
        print(
            "error: weights: stand-in loss networks are for small runs; --full takes the papers' own", file=sys.stderr
        )
        return 2
    unknown = set(arguments.only) - set(PAPERS)
    if unknown:
        print(f"error: only {', '.join(unknown)}: expected presets, {', '.join(PAPERS)}", file=sys.stderr)
        return 2
    todo = commands(arguments) if arguments.sweep == "none" else swept(arguments)
    if arguments.dry_run:
        for command in (*todo.values(), evaluation(arguments, list(todo))):
            print("python", shlex.join(command))
        return 0
    threads = max(1, len(os.sched_getaffinity(0)) // arguments.jobs)
    started = time.time()

    def train(name: str) -> int:
        began = time.time()
        code = run(todo[name], threads, arguments.out / "logs" / f"{name}.txt")
        print(f"{name}: exit {code}, {time.time() - began:.0f} s", file=sys.stderr, flush=True)
        return code

    with ThreadPoolExecutor(arguments.jobs) as pool:
        codes = dict(zip(todo, pool.map(train, todo)))
    failed = [name for name, code in codes.items() if code]
    trained = [name for name in todo if name not in failed]
    hours = (time.time() - started) / 3600
    log = arguments.out / "logs" / "evaluate.txt"
    if not trained or run(evaluation(arguments, trained), len(os.sched_getaffinity(0)), log):
        print(f"error: the evaluation failed, see {log}", file=sys.stderr)
        return 1
    if arguments.sweep == "none":
        print(report(arguments, trained, failed, hours))
    else:
        print(sweep.report(arguments.sweep, arguments.out, trained, failed, RESULTS, hours))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
