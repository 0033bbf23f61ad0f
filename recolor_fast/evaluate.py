"""Verb: the papers' tables and figures for colorizers, on the same photographs, with intervals.

    python -m recolor_fast.evaluate RUN FILE.onnx shipped NAME=FOLDER --data FOLDER --out DIR

Writes metrics.json, per_photograph.csv, tables.md and the figures; prints DIR as its last line on stdout, everything
for people goes to stderr. Exit codes: 0 done, 2 arguments, data or weights that cannot be used, 130 interrupted.
"""

if __name__ == "__main__":
    from recolor_fast import starting

    starting.run("recolor_fast.evaluate", arguments="evaluate")

import csv
import hashlib
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from recolor_fast import bars, chroma, colored, images, metrics, plots, processors, runs, runtime
from recolor_fast.arguments.evaluate import Arguments, parse
from recolor_fast.color import SPACES, to_rgb01, to_unit, tone
from recolor_fast.data import host, index, listed, sources
from recolor_fast.environment import environment
from recolor_fast.errors import UserError
from recolor_fast.files import legible, print_path, write_text
from recolor_fast.metrics import METRICS, Columns, Judged
from recolor_fast.networks.graphs import Chroma
from recolor_fast.options import Options, from_metadata, to_json
from recolor_fast.photographs.colorless import COLORLESS
from recolor_fast.tables import DEFINITIONS, PADOVA, SWAPPED, Results, brief, tables

BASELINES = {  # what every colorizer should beat: the CIE Lab a and b of all pixels
    "gray": (0.0, 0.0),
    "sepia": (3.35, 7.27),  # hue of the usual tone, #704214; chroma 8, half the mean of 500 photographs of Imagenette
}
RESERVED = (*BASELINES, "truth")  # names in the outputs that no system may have
OWN = "shipped"  # as a system: the colorizer that comes with the package
WNID = re.compile(r"n\d{8}")


# --- photographs ---------------------------------------------------------------------------------------------------


class Photograph(NamedTuple):
    """A photograph as all systems see it."""

    truth: np.ndarray
    """uint8 (S,S,3)."""
    gray: np.ndarray
    """uint8 (S,S), its Rec. 601 luminance, which every chroma is merged with."""
    luma: np.ndarray
    """uint8 (H,W), the luminance of the whole photograph, which a system's source is prepared from."""


class Chosen(NamedTuple):
    """The photographs of an evaluation."""

    root: Path
    """The folder that `paths` lie in."""
    paths: list[Path]
    unusable: dict[Path, str]
    split: str
    """Which part of the data it is, in words."""

    def name(self, path: Path) -> str:
        """A photograph's path below the data's folder."""
        return path.relative_to(self.root).as_posix()


def choose(arguments: Arguments) -> Chosen:
    """The photographs to evaluate on, each read once. ValueError for data that cannot be used."""
    data = sources.resolve(arguments.data)
    if data == "sample":
        files: Sequence[Path] = sources.sample()
        root, split = files[0].parent, "sample"
    else:
        # Absolute: a folder here that is called imagenette is not the data of that name.
        root = sources.imagenette() if data == "imagenette" else Path(data).absolute()
        parts = sources.photographs(Options(data=str(root), val_per_class=arguments.val_per_class, seed=arguments.seed))
        own = any(path.is_dir() and path.name.lower() == "train" for path in root.iterdir()) and any(
            path.relative_to(root).parts[0].lower() in sources.VALIDATION for path in parts.val
        )
        held_out = own or arguments.val_per_class is not None
        files = parts.val if held_out else _evenly(dict.fromkeys((*parts.val, *parts.train)))
        split = "validation part" if held_out else "all photographs"
    usable, unusable = index.usable(files[: arguments.limit] if arguments.limit else files, "full")
    _leave_out(unusable, arguments.strict)
    return Chosen(root, usable, unusable, split)


def _leave_out(unusable: dict[Path, str], strict: bool, pictures: Mapping[Path, Path] = {}) -> None:  # read only
    """Say which photographs are left out, or which of their `pictures` takes them along; ValueError if `strict`."""
    for path, reason in unusable.items():
        file = pictures.get(path, path)
        if strict:
            raise ValueError(f"{file}: {reason} ({len(unusable)} in all); without --strict they are left out")
        also = "" if file == path else f", and {path} with it"
        index.warn(f"{file} is left out{also}: {reason}")


def without_broken(chosen: Chosen, systems: Sequence["System"], strict: bool) -> Chosen:
    """The photographs of which every folder among the systems has a picture that can be read; each is read once.

    ValueError for a picture of other proportions than its photograph's, where a folder has none that can be read, and
    where `strict` for the first that cannot.
    """
    for system in systems:
        if system.pictures:
            pictures = {path: system.pictures[path] for path in chosen.paths}
            broken = colored.broken(pictures)
            _leave_out(broken, strict, pictures)
            paths = [path for path in chosen.paths if path not in broken]
            colored.check_proportions({path: pictures[path] for path in paths})
            reasons = {path: f"{system.name}'s {pictures[path].name}: {reason}" for path, reason in broken.items()}
            chosen = chosen._replace(paths=paths, unusable=chosen.unusable | reasons)
    return chosen


def _evenly(paths: Iterable[Path]) -> list[Path]:
    """The first of every folder, then the second of every folder, and so on."""
    before: Counter[Path] = Counter()
    places = []
    for path in paths:
        places.append((before[path.parent], path))
        before[path.parent] += 1
    return [path for _, path in sorted(places, key=lambda place: place[0])]


def read(path: Path, size: int) -> Photograph:
    """A file as the protocol's square. ValueError naming a file that cannot be decoded."""
    with index.naming(path):
        rgb = images.read_rgb(images.read(path))
    truth = images.resize(rgb, size, size)
    return Photograph(truth, images.gray(truth), images.gray(rgb))


def true_classes(chosen: Chosen) -> np.ndarray:
    """Each photograph's class among ImageNet's 1,000, int (n,), -1 where it is not known.

    The class is the wnid of its folder, or of its name. Known are those of Imagenette, and all of them where the
    photographs' folders are exactly ImageNet's 1,000, whose order is the classes'.
    """
    from torchvision.datasets import Imagenette

    around = {path.parent.parent for path in chosen.paths}
    folders = {one.name for above in around for one in above.iterdir() if one.is_dir() and WNID.fullmatch(one.name)}
    categories = metrics.CLASSIFIER.meta["categories"]
    known = {wnid: categories.index(names[0]) for wnid, names in Imagenette._WNID_TO_CLASS.items()}
    if len(folders) == len(categories):
        known = {wnid: place for place, wnid in enumerate(sorted(folders))}
    wnids = [WNID.match(path.parent.name) or WNID.match(path.name) for path in chosen.paths]
    return np.array([known.get(wnid.group(), -1) if wnid else -1 for wnid in wnids])


# --- systems -------------------------------------------------------------------------------------------------------


class System(NamedTuple):
    """Something that colors: what is measured."""

    name: str
    kind: str
    """run, artefact, folder or baseline."""
    color: Callable[[Path, Photograph], np.ndarray]
    """uint8 (S,S,3) for a photograph (and the file it is from)."""
    own: Callable[[Path], dict[str, float]] = lambda path: {}
    """Columns that only this kind of system has."""
    missing: dict[str, str] = {}  # noqa: RUF012  # read only
    """Why it has no others, by column."""
    options: Options | None = None
    images: int | None = None
    """Photographs seen in training."""
    folder: Path | None = None
    """Of a run."""
    pictures: Mapping[Path, Path] = {}  # read only
    """Of a folder: its picture of each photograph."""


def baseline(name: str, ab: tuple[float, float]) -> System:
    """Something that gives all pixels one a and b, Lab units, at their luminance, and is merged as networks' chroma."""
    cbcr = tone(ab)
    return System(
        name,
        "baseline",
        lambda path, photograph: chroma.merge(photograph.gray, cbcr[:, photograph.gray]),
        missing=_no_padova("a baseline is no run with a critic"),
    )


def open_systems(arguments: Arguments, chosen: Chosen, device: torch.device) -> list[System]:
    """The baselines and the systems of the command line. ValueError naming one that cannot be used."""
    named: dict[str, Path] = {}
    for argument in arguments.systems:
        given, _, rest = argument.partition("=")
        if Path(argument).exists() or not rest:  # a path may have a = in it
            given, rest = "", argument
        own = rest == OWN
        path = runtime.shipped() if own else Path(rest)
        name = given or (OWN if own else path.resolve().stem if path.is_file() else path.resolve().name)
        if not name or name in RESERVED:
            raise ValueError(f"system {argument}: expected a name other than {', '.join(RESERVED)}; use NAME={rest}")
        if name in named:
            raise ValueError(f"systems {named[name]} and {path} are both called {name}: give one another, NAME={rest}")
        named[name] = path
    opened = [_open(name, path, arguments, chosen, device) for name, path in named.items()]
    return [*(baseline(name, ab) for name, ab in BASELINES.items()), *opened]


def _open(name: str, path: Path, arguments: Arguments, chosen: Chosen, device: torch.device) -> System:
    if path.is_file() and path.suffix == ".onnx":
        return _artefact(name, path, arguments.device)
    if path.is_file() and path.suffix == ".safetensors":
        return _run(name, path, device)
    if path.is_dir() and ((path / "checkpoints").is_dir() or (path / "options.json").is_file()):
        return _run(name, path, device)
    if path.is_dir():
        return _folder(name, path, chosen)
    what = "no such file" if path.exists() else "it does not exist"
    raise ValueError(
        f"system {path}: {what}; expected a run folder, an .onnx or .safetensors file, a folder of colored "
        f"photographs, or {OWN}"
    )


def _no_padova(reason: str) -> dict[str, str]:
    return dict.fromkeys((*PADOVA, *SWAPPED), reason)


def _artefact(name: str, path: Path, device: runtime.Provider) -> System:
    artefact = runtime.load(path, device)
    seen = artefact.metadata.get("images", "")
    return System(
        name,
        "artefact",
        lambda path, photograph: chroma.merge(photograph.gray, artefact.chroma(photograph.luma)),
        missing=_no_padova("an artefact holds no critic: give its run folder"),
        options=_stored(artefact),
        images=int(seen) if seen.isdecimal() else None,
    )


def _stored(artefact: runtime.Artefact) -> Options | None:
    """Of the run it was exported from; None, said on stderr, where this version cannot read them."""
    try:
        return from_metadata(artefact.metadata["options"])
    except UserError as error:
        print(f"warning: {artefact.name}: its preset is not known ({error})", file=sys.stderr)
        return None


def _folder(name: str, folder: Path, chosen: Chosen) -> System:
    """Pictures colored by anything, found by the photographs' paths."""
    pictures = colored.find(folder, {path: chosen.name(path) for path in chosen.paths})

    def color(path: Path, photograph: Photograph) -> np.ndarray:
        return read(pictures[path], len(photograph.gray)).truth

    missing = _no_padova("a folder of pictures holds no critic")
    return System(name, "folder", color, missing=missing, pictures=pictures)


def _run(name: str, folder: Path, device: torch.device) -> System:
    trained = runs.trained(folder)
    options, generator = trained.options, trained.generator.to(device).eval()
    graph = Chroma(generator, options.space).eval()

    def color(path: Path, photograph: Photograph) -> np.ndarray:
        seen = images.source(photograph.luma, options)
        with torch.no_grad():
            cbcr = graph(_batch(seen, device)).cpu().numpy()[0]
        return chroma.merge(photograph.gray, cbcr)

    base = System(name, "run", color, options=options, images=trained.images, folder=folder)
    if trained.critic is None:
        reason = "the run has no critic" if folder.is_dir() else "the file holds no critic: give its run folder"
        return base._replace(missing=_no_padova(reason))
    if options.space != "rgb":
        return base._replace(missing=_no_padova(f"its errors would be in {options.space}, the table's are of RGB"))
    critic = trained.critic.to(device).train()  # as in training: critics keep no running statistics
    size, colors = options.size, SPACES[options.space].channels
    try:
        with torch.no_grad():
            critic(torch.zeros(1, 1, size, size, device=device), torch.zeros(1, colors, size, size, device=device))
    except ValueError as error:  # a map of one pixel before a batch norm
        return base._replace(
            missing=_no_padova(f"its critic cannot score a single photograph of {size} pixels: {error}")
        )
    takes_color = options.source_channels == 3
    own = partial(_padova_columns, generator, critic, options, device, takes_color)
    reason = "its generator takes one gray channel (options: source_channels), so it cannot be given a color photograph"
    return base._replace(own=own, missing={} if takes_color else dict.fromkeys(SWAPPED, reason))


def _batch(image: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (H,W) -> (1,1,H,W) on the device."""
    return torch.from_numpy(image)[None, None].to(device)


def _padova_columns(
    generator: nn.Module,
    critic: nn.Module,
    options: Options,
    device: torch.device,
    takes_color: bool,
    path: Path,
) -> dict[str, float]:
    """Of a photograph as the loader gives it to train on."""
    gray, rgb = (part[None].to(device) for part in host.decode(path, options.size, options.equalize, options.blur))
    pairs = {PADOVA: (to_unit(gray), SPACES[options.space].encode(to_rgb01(rgb)))}
    if takes_color:
        pairs[SWAPPED] = (to_unit(rgb), to_unit(gray).expand(-1, 3, -1, -1))
    found: dict[str, float] = {}
    for names, (source, real) in pairs.items():
        found |= dict(zip(names, metrics.padova_errors(generator, critic, source, real)))
    return found


# --- measuring -----------------------------------------------------------------------------------------------------


def measure(
    chosen: Chosen, systems: list[System], judges: list[metrics.Judge], size: int, device: torch.device
) -> dict[str, Columns]:
    """The columns of the truth and of every system, a row per photograph. Pictures are not kept."""
    rows: dict[str, list[dict[str, Any]]] = {"truth": [], **{system.name: [] for system in systems}}
    stream = index.in_order(partial(read, size=size), chosen.paths, 2 * processors.threads())
    bar = bars.bar(zip(chosen.paths, stream), "evaluating", len(chosen.paths))
    with closing(stream), closing(bar), torch.no_grad():
        for path, photograph in bar:
            pictures = [photograph.truth, *(system.color(path, photograph) for system in systems)]
            stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().to(device)
            columns = metrics.measure(stacked)
            for judge in judges:
                columns |= judge(stacked)
            own = [{}, *(system.own(path) for system in systems)]
            for place, name in enumerate(rows):
                rows[name].append({column: values[place] for column, values in columns.items()} | own[place])
    return {
        name: {column: np.stack([row[column] for row in some]) for column in some[0]} for name, some in rows.items()
    }


def combine(columns: dict[str, Columns], labels: np.ndarray) -> dict[str, Columns]:
    """`columns` with those of the truth beside each system's as truth/..., and what the classifier's classes say."""
    truth = columns["truth"]
    shares = ("chroma", "colorfulness") if _colorless(truth) else ()  # of nothing there are none
    beside = {f"truth/{column}": values for column, values in truth.items() if column not in shares}
    combined = {}
    for name, own in columns.items():
        combined[name] = dict(own) | beside
        if "class" in own:
            combined[name]["top1_agreement"] = (own["class"] == truth["class"]).astype(float)
            if (labels >= 0).any():
                known = (labels >= 0).astype(float)
                combined[name] |= {"known": known, "top1": known * (own["class"] == labels)}
        if "inception" in own and name != "truth" and len(labels) > 1:
            combined[name]["fid"] = np.array(metrics.fid(own["inception"], truth["inception"]))
    return combined


def _colorless(truth: Columns) -> bool:
    return "chroma" in truth and float(truth["chroma"].mean()) < COLORLESS


def summarize(
    columns: dict[str, Columns], systems: list[System], judged: dict[str, Judged], seed: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """Every metric of every system, and those of the truth that need no other picture."""
    reasons = {name: one.reason for name, one in judged.items()}
    share = f"the truth holds no color (mean Lab chroma below {COLORLESS:g}) that this could be a share of"
    missing = reasons | {
        "truth/chroma": share,
        "truth/colorfulness": share,
        "top1": reasons["class"] or "no photograph's folder or name has a wnid whose class is known",
        "top1_agreement": reasons["class"],
        "fid": reasons["inception"] or "it needs two photographs or more",
    }
    alone = ("colorfulness", "colorfulness_abs", "top1", "known")
    truth = {column: values for column, values in columns["truth"].items() if column in alone}
    others = {column: "it compares with the truth" for metric in METRICS.values() for column in metric.columns}
    return {
        **{system.name: metrics.summarize(columns[system.name], missing | system.missing, seed) for system in systems},
        "truth": metrics.summarize(truth, others | {"top1": missing["top1"], "known": missing["top1"]}, seed),
    }


# --- the protocol --------------------------------------------------------------------------------------------------


def options_digest(options: Options) -> str:
    """A hash of the options without the paths of a machine, so a run and its artefact have the same."""
    return hashlib.sha256(to_json(runs.public(options)).encode()).hexdigest()


def protocol(
    arguments: Arguments, chosen: Chosen, systems: list[System], judged: dict[str, Judged], device: torch.device
) -> dict[str, Any]:
    """Everything the numbers depend on; names of files, not their places on this machine."""
    where = environment(device)
    packages = {name: version(name) for name in ("torchmetrics", "torch-fidelity")}
    return {
        "data": chosen.root.resolve().name,
        "split": chosen.split,
        "photographs": len(chosen.paths),
        "files": listed.digest(chosen.paths),
        "unusable": {chosen.name(path): reason for path, reason in chosen.unusable.items()},
        "val_per_class": arguments.val_per_class,
        "limit": arguments.limit,
        "seed": arguments.seed,
        "size": arguments.size,
        "resamples": metrics.RESAMPLES,
        "weights": {name: one.weights or None for name, one in judged.items()},
        "versions": where["versions"] | packages,
        "commit": where["commit"],
        "device": where["device"],
        "systems": {
            system.name: {
                "kind": system.kind,
                "preset": system.options.preset if system.options else None,
                "options": options_digest(system.options) if system.options else None,
                "images": system.images,
            }
            for system in systems
        },
        "definitions": DEFINITIONS,
    }


def caption(protocol: dict[str, Any]) -> str:
    """The protocol in a line."""
    names = ("recolor-fast", "torch", "onnxruntime", "onnxruntime-gpu")
    found = [f"{name} {protocol['versions'][name]}" for name in names if name in protocol["versions"]]
    found += [f"commit {protocol['commit'][:10]}"] if protocol["commit"] else []
    weights = [f"{name}: {origin}" for name, origin in protocol["weights"].items() if origin]
    seen = [f"{name} {one['images']}" for name, one in protocol["systems"].items() if one["images"] is not None]
    return legible(
        f"{protocol['photographs']} photographs of {protocol['data']} ({protocol['split']}, files "
        f"{protocol['files'][:10]}), {protocol['size']}x{protocol['size']} pixels, seed {protocol['seed']}; "
        + (f"photographs seen in training: {', '.join(seen)}; " if seen else "")
        + "".join(f"{one}; " for one in weights)
        + ", ".join(found)
    )


# --- outputs -------------------------------------------------------------------------------------------------------


def per_photograph(chosen: Chosen, columns: dict[str, Columns]) -> str:
    """CSV: a row per photograph and system, a column for each number."""
    of_truth = [name for name in columns["truth"] if name.startswith("truth/")]
    plain: dict[str, None] = {}  # an ordered set
    for own in columns.values():
        plain |= {name: None for name, values in own.items() if values.ndim == 1 and name not in of_truth}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["photograph", "system", *plain])
    for place, path in enumerate(chosen.paths):
        for system, own in columns.items():
            values = [f"{own[name][place]:.6g}" if name in own else "" for name in plain]
            writer.writerow([chosen.name(path), system, *values])
    return text.getvalue()


def training_curves(systems: list[System]) -> dict[str, dict[str, plots.Curve]]:
    """The weighted losses of each player ("generator", "critic") over photographs seen, by run, from its results.csv.

    Runs without rows are left out; so is a player without columns.
    """
    found: dict[str, dict[str, plots.Curve]] = {"generator": {}, "critic": {}}
    for system in systems:
        path = system.folder / "results.csv" if system.folder else None
        if path is None or system.options is None or not path.is_file():
            continue
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        weights = {"generator/adversary": system.options.adversary_weight}
        weights |= {"critic/penalty": system.options.gradient_penalty}
        weights |= {f"generator/{name}": weight for name, weight in system.options.terms}
        for player, curves in found.items():
            parts = [name for name in (rows[0] if rows else {}) if name and name.startswith(f"{player}/")]
            try:
                losses = [sum(float(row[name]) * weights.get(name, 1.0) for name in parts) for row in rows]
                seen = [float(row["images"]) for row in rows]
            except (KeyError, TypeError, ValueError) as error:
                print(f"warning: {path} has a row that cannot be drawn: {error}", file=sys.stderr)
                continue
            if parts:
                curves[system.name] = plots.Curve(np.array(seen), np.array(losses))
    return found


def contact_rows(
    chosen: Chosen, systems: list[System], columns: dict[str, Columns], size: int
) -> list[list[plots.Cell]]:
    """For each system its best, median and worst photograph by psnr_ab, each beside the truth."""
    rows = []
    for system in systems:
        order = np.argsort(-columns[system.name]["psnr_ab"], kind="stable")
        cells = []
        for place in (order[0], order[len(order) // 2], order[-1]):
            path = chosen.paths[place]
            photograph = read(path, size)
            decibels = columns[system.name]["psnr_ab"][place]
            cells += [
                plots.Cell(photograph.truth, f"{path.parent.name}/{path.name}"),
                plots.Cell(system.color(path, photograph), f"PSNR ab {decibels:.2f} dB"),
            ]
        rows.append(cells)
    return rows


def draw(out: Path, chosen: Chosen, systems: list[System], results: Results, size: int, shown: int) -> None:
    """Write the figures."""
    rows = []
    for path in chosen.paths[:shown]:
        photograph = read(path, size)
        pictures = [photograph.gray, photograph.truth, *(s.color(path, photograph) for s in systems[1:])]
        rows.append([plots.Cell(picture) for picture in pictures])
    titles = ["input", "truth", *(system.name for system in systems[1:])]
    plots.sheet(out / "fig5_side_by_side.png", titles, rows, results.caption)
    titles = ["best: truth", "best: colored", "median: truth", "median: colored", "worst: truth", "worst: colored"]
    cells = contact_rows(chosen, systems, results.columns, size)
    plots.sheet(out / "contact_sheet.png", titles, cells, results.caption, [system.name for system in systems])
    counts = {name: (own["histogram_a"].mean(0), own["histogram_b"].mean(0)) for name, own in results.columns.items()}
    plots.histograms(out / "fig2_histograms.png", metrics.BINS, counts, "truth", results.caption)
    curves = training_curves(systems)
    note = "Weighted total of the logged parts, each row the mean since the row before. " + results.caption
    for player, name in (("generator", "fig8_generator_loss.png"), ("critic", "fig9_critic_loss.png")):
        if curves[player]:
            plots.losses(out / name, curves[player], f"{player} loss", note)
        else:
            (out / name).unlink(missing_ok=True)  # an older evaluation's, with --overwrite, would look like this one's
            print(f"{name} is not drawn: no run among the systems has a results.csv with its losses", file=sys.stderr)


def evaluate(arguments: Arguments) -> Path:
    """Run the evaluation and write it. ValueError for arguments, data or weights that cannot be used."""
    check(arguments)
    device = torch.device("cuda" if arguments.device != "cpu" and torch.cuda.is_available() else "cpu")
    chosen = choose(arguments)
    systems = open_systems(arguments, chosen, device)
    chosen = without_broken(chosen, systems, arguments.strict)
    for system in systems:
        if system.folder and (count := listed.trained_on(system.folder, chosen.paths)):
            of = f"{count} of {len(chosen.paths)} photographs"
            print(f"warning: {of} have the names of those {system.name} was trained on", file=sys.stderr)
    judged = {
        **metrics.lpips_judges(arguments.lpips_weights, device),
        "class": metrics.classifier_judge(arguments.classifier_weights, device),
        "inception": metrics.inception_judge(arguments.inception_weights, device),
    }
    judges = [one.judge for one in judged.values() if one.judge]
    told = protocol(arguments, chosen, systems, judged, device)  # now: the commit may be another one when this is done
    columns = combine(measure(chosen, systems, judges, arguments.size, device), true_classes(chosen))
    found = summarize(columns, systems, judged, arguments.seed)
    results = Results(told, caption(told), columns, found)
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    written = {"protocol": told, "systems": found}
    write_text(out / "metrics.json", json.dumps(written, indent=2, allow_nan=False) + "\n")
    write_text(out / "per_photograph.csv", per_photograph(chosen, columns))
    write_text(out / "tables.md", tables(results, systems))
    draw(out, chosen, systems, results, arguments.size, arguments.shown)
    print(brief(results, systems, arguments.seed), file=sys.stderr)
    over = f"over {len(chosen.paths)} photographs"
    print(f"mean [95 % interval] {over}; all metrics: {legible(out / 'tables.md')}", file=sys.stderr)
    return out


def check(arguments: Arguments) -> None:
    """ValueError for arguments that cannot be used, before anything is computed."""
    for name, least in (("size", 16), ("shown", 1), ("limit", 1), ("val_per_class", 1), ("seed", 0)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise ValueError(f"{name} {value}: expected {least} or more")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device cuda: torch sees no CUDA device here; use --device cpu, or check driver and torch build"
        )
    for name in ("lpips_weights", "classifier_weights", "inception_weights"):
        file = getattr(arguments, name)
        if file and not file.is_file():
            raise ValueError(f"{name} {file}: there is no such file; expected a .pth or .safetensors state_dict")
    out = arguments.out
    if out.exists() and not out.is_dir():
        raise ValueError(f"out {out}: it is a file; expected a folder to write to")
    if out.is_dir() and any(out.iterdir()) and not arguments.overwrite:
        raise ValueError(f"out {out}: it is not empty; give another folder, or --overwrite to write into it")


def main(argv: list[str] | None = None) -> int:
    """Run the verb; returns the exit code."""
    try:
        out = evaluate(parse(argv))
    except SystemExit as stop:  # --help, or wrong arguments, which tyro explains on stderr
        return int(stop.code or 0)
    except (ValueError, OSError, RuntimeError) as error:  # RuntimeError: of Artefact.run, and torch's out of memory
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing is kept: start again, into another folder or with --overwrite", file=sys.stderr)
        return 130
    print_path(out)
    return 0
