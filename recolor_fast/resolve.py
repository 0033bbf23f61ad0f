"""What a training's options leave open, decided: the only room that knows the word "auto".

`resolve` decides all but what depends on the number of photographs, which `for_photographs` does. Step and loader
believe what they are given.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from recolor_fast.data import dali, sources
from recolor_fast.data.loader import decoded_side
from recolor_fast.losses.adversaries import ADVERSARIES
from recolor_fast.losses.features import FEATURES, LPIPS, missing
from recolor_fast.losses.terms import TERMS, lpips_file
from recolor_fast.machine import memory
from recolor_fast.machine.download import reachable
from recolor_fast.machine.environment import threads
from recolor_fast.machine.errors import UserError
from recolor_fast.machine.files import cache_folder
from recolor_fast.machine.ranks import Ranks
from recolor_fast.networks import published
from recolor_fast.networks.critics import by_winograd, check_critic, norms
from recolor_fast.networks.generators import check_generator
from recolor_fast.networks.layers import pick
from recolor_fast.networks.winograd import STRIDES, paying
from recolor_fast.options import AUTO_SPLIT, Command, Options, System, Whole
from recolor_fast.runs import learned, loggers
from recolor_fast.step import fused

FALLBACK = "lpips_mini"
"""What takes the place of a preset's LPIPS term whose weights are missing."""


def for_ranks(options: Command, count: int) -> Command:
    """`options` of a training by `count` processes, with what several cannot do decided against where it is "auto".

    UserError for another number than the options name, for batches that they cannot divide, and what they cannot do.
    """
    if options.ranks not in (0, count):
        raise UserError(f"ranks {options.ranks}: torchrun started {count}; leave --ranks out, or start as many")
    options = replace(options, ranks=count)
    if count == 1:
        return options
    batch_norm = "batch" in (options.generator_norm, options.generator_last_norm) or (
        options.critic and "batch" in norms(options)
    )
    if options.gradient_penalty and options.critic and "batch" in norms(options):
        raise UserError(
            f"preset {options.preset} on {count} ranks: its penalty is per photograph and its critic's batch norm "
            "mixes photographs, so its batch is 1, which cannot be divided; train it in one process, without torchrun"
        )
    for name in ("batch", "micro_batch"):
        value = getattr(options, name)
        if value % count:
            near = [str(one) for one in (value // count * count, (value // count + 1) * count) if one]
            flag = name.replace("_", "-")
            raise UserError(
                f"{name} {value} cannot be divided among {count} ranks, whose photographs it counts together: use "
                f"--{flag} {f' or --{flag} '.join(near)}"
            )
    if options.cuda_graph == "on":
        raise UserError(f"cuda_graph on with {count} ranks: their sums are not recorded; use auto or off")
    if options.compile == "on" and batch_norm:
        raise UserError(
            f"compile on with batch norm and {count} ranks: its sums over the ranks are not compiled; use auto or off"
        )
    options = replace(options, cuda_graph="off")
    return replace(options, compile="off") if batch_norm else options


def as_first(options: Whole, ranks: Ranks) -> Whole:
    """`options` with what was decided by measuring as the first rank found it, which is what the run folder keeps."""
    return replace(options, **ranks.told({name: getattr(options, name) for name in ("winograd", "channels_last")}))


def for_loggers(options: Command) -> Command:
    """`options` with `log` decided, which is said where it is none. UserError for a library that is not installed."""
    return replace(options, log=loggers.decided(options.log))


def resolve(options: Whole, resumed: Path | None = None, beside: int = 1) -> Whole:
    """Every "auto" decided but for `loader` and `cache`, data as an absolute path. Warns of each thing that is missing.

    Decoding threads are shared with the other ranks of this machine, `beside` in all.

    UserError for names that no table holds, and for data, weights or a device that cannot be used; for the data of the
    run `resumed` it says how to continue where they have moved.
    """
    check_system(options)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "device cuda: torch sees no CUDA device here; use --device cpu, or check driver and torch build"
        )
    moved = f"if the photographs of {resumed} have moved, --data FOLDER says where they are"
    photographs = data(options.data, advice=moved if resumed else sources.EXPECTED)
    if photographs in AUTO_SPLIT:
        per_class, val_per_class = AUTO_SPLIT[photographs]
        per_class, val_per_class = options.per_class or per_class, options.val_per_class or val_per_class
        options = replace(options, per_class=per_class, val_per_class=val_per_class)
    elif photographs != "sample":
        photographs = str(Path(photographs).resolve())
    start = options.start if options.start in ("", learned.OWN) else str(Path(options.start).resolve())
    options = _fastest(replace(options, device=device, data=photographs, start=start), torch.device(device))
    options = lpips(options)
    check_features(options)
    return replace(options, threads=threads(options.threads, device, beside))


def for_photographs(options: Whole, count: int, device: torch.device | str | None = None, beside: int = 1) -> Whole:
    """`options` with `loader` and `cache` as they will be for `count` photographs on `device` (`options.device`).

    A processor's memory is shared by the ranks of this machine, `beside` in all.

    Raises UserError for loader dali where DALI is not installed; loader auto says on stderr that it does without.
    """
    device = torch.device(device or ("cpu" if options.device == "auto" else options.device))
    if options.loader == "dali":
        dali.require()
    loader, cache = options.loader, options.cache
    if loader == "auto":
        loader = "dali" if device.type == "cuda" and dali.available() else "host"
        if device.type == "cuda" and loader == "host":
            print("warning: NVIDIA DALI is not installed: photographs are decoded by --loader host", file=sys.stderr)
    if cache == "auto":
        again = options.images > count  # what is seen once is decoded when its turn comes
        free = free_bytes(device) / (beside if device.type == "cpu" else 1)
        cache = "on" if again and count * 4 * decoded_side(options) ** 2 < free / 4 else "off"
    return replace(options, loader=loader, cache=cache)


def encoder_file(options: System) -> Path | None:
    """The file that a new run's encoder has its weights from; None where it has no encoder, or a random one.

    UserError, saying what to do, where it is missing.
    """
    if options.generator not in published.ENCODERS or options.encoder_weights == "random":
        return None
    if options.encoder_weights == "auto":
        return published.packaged(options.generator)
    path = Path(options.encoder_weights)
    if not path.is_file():
        raise UserError(f"encoder_weights {path}: there is no such file; {published.advice(options.generator)}")
    return path


def in_stored_pieces(options: Whole, stored: Options) -> Whole:
    """`options` with the micro-batch of the run that they resume, where that had to be made smaller than theirs."""
    if not stored.micro_batch or (options.micro_batch or options.batch) <= stored.micro_batch:
        return options
    print(f"continuing with --micro-batch {stored.micro_batch}, as this run had no memory for more", file=sys.stderr)
    return replace(options, micro_batch=stored.micro_batch, cuda_graph="off")


def data(value: str, option: str = "data", advice: str = sources.EXPECTED) -> str:
    """The value of `data` with "auto" replaced by what is there, "imagenette" or "sample".

    Imagenette is taken where it is cached or its server answers; nothing is downloaded here. Where it is not, one line
    on stderr says so. Other values are returned as they are. Raises UserError for a folder that does not exist, with
    the name of the `option` that it was given by and the `advice`.
    """
    if value == "auto":
        if sources.cached() or reachable(sources.ARCHIVE.url):
            return "imagenette"
        print(
            f"warning: Imagenette is missing ({sources.ARCHIVE.url} does not answer, and {cache_folder()} holds no "
            f"copy): the {len(sources.SAMPLE)} sample photographs of scikit-image are used instead; --data FOLDER "
            "takes your own",
            file=sys.stderr,
        )
        return "sample"
    sources.check(value, option, advice)
    return value


def fastest(options: Whole, device: torch.device) -> Whole:
    """`options` with `compile`, `fused_critic`, `cuda_graph` and `channels_last` decided: where they are "auto", as is
    fastest on `device` by bench/results. UserError for names, and for what the device or the critic cannot have.
    """
    check_system(options)
    return _fastest(options, device)


def _fastest(options: Whole, device: torch.device) -> Whole:
    hindrance, cuda = fused.hindrance(options), device.type == "cuda"
    if options.fused_critic == "on" and hindrance:
        raise UserError(f"fused_critic on: {hindrance}; use auto")
    if options.cuda_graph == "on" and not cuda:
        raise UserError(f"cuda_graph on with device {device}: CUDA graphs need a CUDA device; use auto")
    is_fused = not hindrance and options.fused_critic != "off"
    if options.winograd not in ("auto", "off") and (cuda or (options.compile == "on" and not is_fused)):
        why = f"device {device}" if cuda else "what is compiled is the compiler's, unless the critic's update is fused"
        raise UserError(f"winograd {options.winograd}: {why}; use auto")
    kind = getattr(torch, options.amp_dtype) if options.amp else torch.float32
    winograd = options.winograd
    if winograd == "auto":
        compiled = options.compile == "on" and not is_fused  # by the compiler, which has its own way
        winograd = "off" if cuda or compiled else paying(kind)
    fast = by_winograd(options, is_fused, STRIDES[winograd])
    best: dict[str, Any] = {
        "compile": "on" if cuda else "off",
        "fused_critic": "on" if is_fused else "off",
        "cuda_graph": "on" if cuda and not options.micro_batch else "off",
        "winograd": winograd,
        # On a CPU most is slower with it, but not a critic by Winograd, or fused and in bfloat16.
        "channels_last": "on" if cuda else "critic" if fast or (is_fused and options.amp) else "off",
    }
    return replace(options, **{name: value for name, value in best.items() if getattr(options, name) == "auto"})


def check_system(options: Options) -> None:
    """UserError for a name that no table holds, networks that cannot be built, and a size that leaves no score map."""
    pick(ADVERSARIES, options.adversary, "adversary")
    for name, _ in options.terms:
        pick(TERMS, name, "terms")
    check_generator(options)
    if options.critic:
        piece = options.micro_batch or options.batch
        check_critic(options, options.batch % piece or piece)  # the smallest


def lpips(options: Whole, probe: Callable[[str, str], str] = missing) -> Whole:
    """`options` with `lpips` decided: the terms hold the LPIPS term that is used, and `lpips` its name or "off".

    "auto" keeps the preset's term if its weights are there; if not, `FALLBACK`, whose weights are in this package,
    takes its place at its weight, with one warning. A term's name takes the place of the preset's at its weight, and
    weights that are missing are then a UserError, as are a name where the terms have not exactly one to replace, and
    a weights file where no term takes it.
    """
    options = replace(options, terms=tuple(term for term in options.terms if term[0] not in LPIPS or term[1]))
    ours = [name for name, _ in options.terms if name in LPIPS]
    without = tuple(term for term in options.terms if term[0] not in LPIPS)
    if options.lpips == "off" or (options.lpips == "auto" and not ours):
        if options.lpips_weights:
            raise UserError(f"lpips_weights {options.lpips_weights}: no LPIPS term takes it; use a preset with one")
        return replace(options, lpips="off", terms=without)
    if options.lpips != "auto":
        pick({"auto": 0, "off": 0, **LPIPS}, options.lpips, "lpips")
    if len(ours) != 1:
        raise UserError(
            f"lpips {options.lpips}: expected one LPIPS term among the terms {options.terms}, found {len(ours)}; "
            "choose a preset with LPIPS, or give its weight: --terms l1 100 lpips_alex 50"
        )
    chosen = ours[0] if options.lpips == "auto" else options.lpips
    file = lpips_file(chosen, options)
    reason = probe(chosen, file)
    if reason and (options.lpips != "auto" or file or chosen == FALLBACK):
        raise UserError(f"lpips {chosen}: {reason}; give the backbone's state_dict with --lpips-weights FILE")
    if reason:
        advice = 'see "What may be missing" in docs/training.md'
        print(f"warning: no weights of {chosen} here: {FALLBACK} takes its place; {advice}", file=sys.stderr)
        chosen = FALLBACK
    if file == "random":
        _warn_random(chosen)
    terms = tuple((chosen if name in LPIPS else name, weight) for name, weight in options.terms)
    return replace(options, lpips=chosen, terms=terms)


def check_features(options: System, probe: Callable[[str, str], str] = missing) -> None:
    """UserError for a loss network whose weights are missing, or a weights file that no term takes.

    Unlike LPIPS, none is replaced: a system with another loss network would be another system. Warns of random weights.
    """
    used = [name for name, weight in options.terms if weight and name in FEATURES]
    if options.feature_weights and not used and options.lpips == "off":
        raise UserError(f"feature_weights {options.feature_weights}: no loss network takes it; use a preset with one")
    for name in used:
        if reason := probe(name, options.feature_weights):
            raise UserError(
                f"terms {name}: its weights are missing: {reason}; put the file there, or give a state_dict with "
                "--feature-weights FILE (random: structure only, for tests)"
            )
        if options.feature_weights == "random":
            _warn_random(name)


def _warn_random(name: str) -> None:
    print(f"warning: {name} has random weights: structure only, not a perceptual distance", file=sys.stderr)


def free_bytes(device: torch.device) -> int:
    """Memory of a device that can be taken, in bytes; 2**31 for a host that does not say (macOS, Windows)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = memory.available()
    return 2**31 if free is None else free
