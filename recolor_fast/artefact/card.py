"""Model cards: what an exported file is, was trained on, is worth and cannot do. Written beside every export.

A card is Markdown with Hugging Face's header. What is not known is "not measured", with the command that measures it.
Its last line has a hash of the others, so that a card which somebody has edited is told from one which nobody has.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from recolor_fast.machine.files import legible, say, write_text
from recolor_fast.runs.read_rows import complete

SUFFIX = ".md"  # after the whole name of the file, whose formats share a stem
MARK = re.compile(r"<!-- recolor-fast wrote this card; without an edit its SHA-256 is ([0-9a-f]{64}) -->\n\Z")
EVALUATION = Path("evaluation", "metrics.json")  # in a run folder, of `evaluate RUN --out RUN/evaluation`

USES = {  # by the graph of an ONNX file
    "chroma": "`Colorizer` and `recolor-fast colorize`; gray uint8 (N,1,S,S) to JFIF Cb and Cr uint8 (N,2,S,S)",
    "image": "any program with an ONNX runtime; RGB uint8 (N,H,W,3) of any size to colored RGB uint8 (N,H,W,3)",
    "hints": "`Colorizer` with hints; gray uint8 (N,1,S,S) and hints float32 (N,3,S,S) to Cb and Cr uint8 (N,2,S,S)",
}
METRICS = {  # of metrics.json: name -> words
    "ab_rmse": "ab error (root mean square of Lab's a and b)",
    "psnr_rgb": "PSNR, dB",
    "colorfulness_ratio": "colorfulness, as a share of the truth's",
    "lpips": "LPIPS (AlexNet)",
    "fid": "FID",
}
SEEN = ", which are those it was trained on"  # of the data "sample", whose photographs are both
LIMITS = """\
- **It guesses colors; it does not restore them.** A gray value does not say what color it was. Where several are
  plausible it takes one of them, or a dull one in between. It does not say how sure it is.
- **It is not evidence.** It is not meant for identification, medical or scientific pictures, or anything else where a
  color is taken for a fact. Colored photographs should be shown as such.
- **It sees a small version of a photograph**, {size}x{size} pixels: small things have no color of their own.
- **What it was not trained on** (other kinds of photographs, drawings, old prints) it may color badly: not measured.
- Frames of a film are colored one by one."""


class Measured(NamedTuple):
    """What is known of a run's quality at one checkpoint."""

    validation: Mapping[str, str]
    """The row of validation.csv; empty where there is none."""
    protocol: Mapping[str, Any]
    """Of `evaluate`; empty where no evaluation of this checkpoint is there."""
    systems: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Its metrics by system ("model", "gray") and name: mean, low, high."""


UNMEASURED = Measured({}, {}, {})


def measured(run: Path, options: str, images: int) -> Measured:
    """What a run folder says of the checkpoint of so many photographs seen; of a file, or another folder, nothing.

    `options`: the run's public options as its exports' metadata have them. An evaluation counts where it was made of
    these options and this checkpoint.
    """
    if not run.is_dir():
        return UNMEASURED
    rows = [row for row in complete(run / "validation.csv")[1] if row.get("images") == str(images)]
    validation = rows[-1] if rows else {}
    try:
        told = json.loads((run / EVALUATION).read_text())
        protocol, metrics = told["protocol"], told["systems"]
        own = (hashlib.sha256(options.encode()).hexdigest(), images)
        names = [name for name, one in protocol["systems"].items() if (one["options"], one["images"]) == own]
        systems = {"model": metrics[names[0]], "gray": metrics["gray"]} if names else {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # none, or of another version
        return Measured(validation, {}, {})
    return Measured(validation, protocol, systems) if systems else Measured(validation, {}, {})


def text(
    file: str, metadata: Mapping[str, str], known: Measured = UNMEASURED, engine: Mapping[str, Any] | None = None
) -> str:
    """The card of a file of this name. `metadata`: the export's, without prefixes ("options", "images", "graph",
    "precision", "saturation", "proof", "version(s)"). `engine`: what to_tensorrt notes of an engine it has built."""
    options = json.loads(metadata["options"])
    kind = file.rsplit(".", 1)[-1]
    body = "\n\n".join(
        [
            _header(kind, options),
            f"# {legible(file)}",
            "## What it is\n\n" + _what(file, kind, options, metadata),
            "## Training data\n\n" + _data(options, metadata),
            "## Recipe\n\n" + _recipe(options, metadata),
            "## Evaluation\n\n" + _evaluation(file, kind, options, metadata, known, engine),
            "## What it cannot do\n\n" + LIMITS.format(size=options["size"]),
            "## License\n\n" + _license(options),
        ]
    )
    body += "\n\n"
    return f"{body}<!-- recolor-fast wrote this card; without an edit its SHA-256 is {_digest(body)} -->\n"


def unedited(card: str) -> bool:
    """Whether a card is one of `text` that nobody has changed."""
    found = MARK.search(card)
    return bool(found) and found[1] == _digest(card[: found.start()])  # type: ignore[index, union-attr]


def path_of(file: Path) -> Path:
    """Where the card of an exported file is: FILE.onnx.md."""
    return file.with_name(file.name + SUFFIX)


def write(path: Path, card: str) -> None:
    """Write a card. One that somebody has edited stays, which is said on stderr. Raises OSError."""
    if path.exists() and not unedited(path.read_text(errors="replace")):
        say(f"card: {path} has been edited and stays as it is; remove it to have it written anew")
        return
    write_text(path, card)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def _header(kind: str, options: Mapping[str, Any]) -> str:
    """Hugging Face's metadata. `license` is left out: nobody but the one who trained can choose it."""
    library = {"onnx": "onnx", "safetensors": "pytorch", "engine": "tensorrt"}[kind]
    lines = ["---", f"library_name: {library}", "pipeline_tag: image-to-image", "tags:"]
    lines += [f"- {tag}" for tag in ("image-colorization", "recolor-fast", options["preset"])]
    return "\n".join([*lines, "---"])


def _what(file: str, kind: str, options: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    about = f"A network that gives a gray photograph colors, trained by recolor_fast (preset `{options['preset']}`)."
    if kind == "safetensors":
        use = f"python export/to_onnx.py {file}\npython -m recolor_fast.train --start {file}"
        return f"{about} These are its generator's weights; no code runs when they are read.\n\n```\n{use}\n```"
    graph, precision = metadata["graph"], metadata.get("precision", "fp32")
    about += f" Graph `{graph}`, {precision}, {options['size']} pixels; for {USES[graph]}."
    if (saturation := float(metadata.get("saturation", 1))) != 1:
        about += f" Its colors are made {saturation:g} times as strong."
    about += "\n\nOnly chroma is predicted: the photograph's luminance stays."
    if kind == "engine":
        return f"{about} A TensorRT engine: native code for one kind of GPU and one version of TensorRT."
    use = f'from recolor_fast import Colorizer\n\nrgb = Colorizer("{file}")(gray)  # uint8 (H,W) or (H,W,3)'
    return f"{about}\n\n```python\n{use}\n```"


def _data(options: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    seen = f"{int(metadata['images']):,} photographs seen, repeats included" if "images" in metadata else "not stated"
    lines = [f"- `{legible(options['data'])}`: {seen}. Their number, origin and license are not stated here: add them."]
    lines.append("- Their gray versions, made by Rec. 601, were the input.")
    if options.get("old_film"):
        lines.append(f"- A share of {options['old_film']:g} was made to look like old film (`--old-film`).")
    if options.get("colorless"):
        lines.append(f"- A share of {options['colorless']:g} was replaced by pictures without color (`--colorless`).")
    if options.get("start"):
        lines.append(f"- It began with the weights of `{legible(options['start'])}`, and so with what those were of.")
    if options["generator"].startswith("lite") and options.get("encoder_weights") != "random":
        lines.append("- Its encoder began with EfficientNet-Lite's weights, which Google trained on ImageNet.")
    return "\n".join(lines)


def _recipe(options: Mapping[str, Any], metadata: Mapping[str, str]) -> str:
    terms = ", ".join(f"{name} {weight:g}" for name, weight in options["terms"]) or "none"
    lines = [
        f"- generator `{options['generator']}`, width {options['width']}, color space {options['space']}; "
        f"critic `{options['critic'] or 'none'}`",
        f"- adversary `{options['adversary']}`, weight {options['adversary_weight']:g}; loss terms: {terms}; "
        f"gradient penalty {options['gradient_penalty']:g}",
        f"- batch {options['batch']}, learning rate {options['learning_rate']:g}, seed {options['seed']}",
    ]
    versions = metadata.get("version") or ", ".join(f"{k} {v}" for k, v in _json(metadata.get("versions")).items())
    lines += [f"- exported with {'recolor-fast ' if 'version' in metadata else ''}{versions}"] if versions else []
    return "\n".join(lines)


def _evaluation(
    file: str,
    kind: str,
    options: Mapping[str, Any],
    metadata: Mapping[str, str],
    known: Measured,
    engine: Mapping[str, Any] | None,
) -> str:
    parts = []
    if proof := _json(metadata.get("proof")):
        parts.append(
            f"The file against PyTorch, on {proof['pictures']} pictures: largest difference {proof['largest']} of 255 "
            f"levels, mean {proof['mean']:.4g}; mean CIEDE2000 {proof['ciede2000']:.4g}."
        )
    if engine:
        differs = engine["difference"]
        times = ", ".join(f"{k.replace('_', ' ')}: {v}" for k, v in engine.items() if k.startswith(("ms_", "images_")))
        parts.append(
            f"The engine against onnxruntime, on {differs['pictures']} pictures: largest difference "
            f"{differs['largest']} of 255 levels, mean CIEDE2000 {differs['ciede2000']:.4g}. "
            f"On {engine['gpu']}: {times}."
        )
    row = known.validation
    if row.get("ab_rmse"):
        told = {name: f"{float(value):.4g}" for name, value in row.items() if value}
        gray = f" (gray: {told['ab_rmse/gray']})" if "ab_rmse/gray" in told else ""
        parts.append(
            f"On the run's own validation photographs{SEEN if options['data'] == 'sample' else ''}: "
            f"ab error {told['ab_rmse']}{gray}, PSNR {told.get('psnr', '-')} dB, "
            f"chroma {told.get('chroma', '-')} of the truth's. No intervals."
        )
    return "\n\n".join([*parts, _intervals(file, kind, known)])


def _intervals(file: str, kind: str, known: Measured) -> str:
    if not known.systems:
        model = "FILE.onnx" if kind == "engine" else file
        return (
            "Quality with 95 % intervals: not measured. This measures it, on photographs it was not trained on:\n\n"
            f"```\npython -m recolor_fast.evaluate {model} --data FOLDER\n```"
        )
    told = known.protocol
    lines = [
        f"{told['photographs']} photographs of {legible(told['data'])} ({told['split']}), "
        f"{told['size']}x{told['size']} pixels; in brackets 95 % intervals over photographs (bootstrap).",
        "",
        "| metric | this one | gray |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {words} | {_shown(known.systems['model'].get(name))} | {_shown(known.systems['gray'].get(name))} |"
        for name, words in METRICS.items()
    ]
    return "\n".join(lines)


def _shown(interval: Mapping[str, Any] | None) -> str:
    if not interval or interval.get("mean") is None:
        return "not measured"
    mean, low, high = (interval.get(key) for key in ("mean", "low", "high"))
    return f"{mean:.4g}" if low is None or high is None else f"{mean:.4g} [{low:.4g}, {high:.4g}]"


def _license(options: Mapping[str, Any]) -> str:
    lines = ["Not stated: whoever trained it chooses it, and adds `license:` to the header above."]
    if options.get("start") == "shipped" or options["generator"].startswith("lite"):
        lines.append(
            "Where its encoder began with EfficientNet-Lite's weights, those are under the Apache License 2.0."
        )
    lines.append("The photographs trained on belong to their owners; none is in the file.")
    return " ".join(lines)


def _json(value: str | None) -> dict[str, Any]:
    return json.loads(value) if value else {}
