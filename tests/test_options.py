"""Options, the preset table and the command line that sets them."""

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest

from recolor_fast import resolve, train
from recolor_fast.arguments import train as words
from recolor_fast.losses import features
from recolor_fast.losses.adversaries import ADVERSARIES
from recolor_fast.losses.terms import TERMS
from recolor_fast.networks.critics import CRITICS
from recolor_fast.networks.generators import GENERATORS
from recolor_fast.networks.layers import NORMS
from recolor_fast.networks.space import SPACES
from recolor_fast.options import (
    CHOSEN_PER_SESSION,
    FREE,
    OPEN,
    Command,
    Data,
    Options,
    Session,
    System,
    Training,
    from_dict,
    marked,
    to_json,
)
from recolor_fast.photographs.preparation import Preparation
from recolor_fast.presets import DEFAULT, PRESETS

ROOT = Path(__file__).parent.parent / "recolor_fast"
# Names that users' scripts rely on: removing or renaming one is a breaking change, to be said in CHANGELOG.md.
NAMES = """
size equalize blur data per_class val_per_class classes gray_photographs load_size flip old_film colorless seed preset
space source_channels generator encoder_weights hints width generator_norm generator_last_norm dropout critic
critic_norm critic_first_norm critic_layers critic_scales critic_bias spectral_norm conv_bias init init_sigma adversary
adversary_weight terms smooth_l1_beta gradient_penalty penalty_on penalty_every critic_steps critic_gradients lpips
lpips_weights feature_weights images batch micro_batch start learning_rate decay beta1 beta2 weight_decay encoder_rate
freeze_encoder skip_nonfinite amp amp_dtype device threads loader cache check compile compile_backend fused_critic
winograd cuda_graph channels_last deterministic runs name resume changed_files save_every keep log_every samples
log ranks quiet dry_run
""".split()


def test_the_set_of_options_is_frozen():
    assert [field.name for field in fields(Command)] == NAMES


def test_every_option_is_documented():
    text = "".join((ROOT / f"{module}.py").read_text() for module in ("photographs/preparation", "options"))
    for name in NAMES:
        assert re.search(rf'^    {name}: .*\n    """', text, re.M), name


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_itself_and_only_what_the_tables_hold(name):
    options = PRESETS[name]
    assert options.preset == name
    assert options.adversary in ADVERSARIES
    assert options.critic in (*CRITICS, "")
    assert options.generator in GENERATORS
    assert {options.generator_norm, options.critic_norm} <= set(NORMS)
    assert {term for term, _ in options.terms} <= set(TERMS)
    assert from_dict(json.loads(to_json(options))) == options


def test_the_first_presets_are_the_papers_four_experiments():
    assert DEFAULT == "wgan-gp-lpips"
    ours = dict(list(PRESETS.items())[:4])
    assert {n: (o.adversary, dict(o.terms).get("lpips_alex"), o.critic_steps) for n, o in ours.items()} == {
        "pix2pix": ("bce", None, 1),
        "pix2pix-lpips": ("bce", 50.0, 1),
        "wgan-gp": ("wgan", None, 5),
        "wgan-gp-lpips": ("wgan", 50.0, 5),
    }
    for options in ours.values():
        assert (options.size, options.batch, options.images, dict(options.terms)["l1"]) == (256, 1, 5000, 100.0)
        assert (options.init_sigma, options.learning_rate, options.beta1, options.beta2) == (0.02, 2e-4, 0.5, 0.999)
        assert (options.weight_decay, options.equalize, options.blur) == (0.0, "source", "source")
        wgan = options.adversary == "wgan"
        assert options.gradient_penalty == (10.0 if wgan else 0.0)
        assert not (wgan and options.critic_norm == "batch")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 100}, ["100", "multiple of 32, 64 to 1024"]),
        ({"load_size": 255}, ["load_size 255", "0", "256 to 512"]),
        ({"load_size": 513}, ["load_size 513", "0", "256 to 512"]),
        ({"load_size": -1}, ["load_size -1", "0", "256 to 512"]),
        ({"batch": 0}, ["batch 0", "1 or more"]),
        ({"dropout": 1.0}, ["dropout 1.0", "probability"]),
        ({"gradient_penalty": 10.0, "critic_norm": "batch", "batch": 2}, ["batch norm", "instance"]),
        ({"per_class": 0}, ["per_class 0"]),
        ({"seed": -1}, ["seed -1", "0 or more"]),
        ({"seed": 2**70}, ["seed", "0 or more"]),
        ({"init_sigma": -1.0}, ["init_sigma -1", "0 or more"]),
        ({"decay": 1.5}, ["decay 1.5", "0 to 1"]),
        ({"beta2": 1.0}, ["beta2 1.0"]),
        ({"terms": (("l1", 1.0), ("l1", 2.0))}, ["l1", "each name once"]),
        ({"terms": (("l1", float("nan")),)}, ["nan", "finite"]),
        ({"data": ""}, ["data ''"]),
        ({"space": "lab"}, ["lab", "equalize none"]),
        ({"old_film": 1.5, "equalize": "none", "blur": "none"}, ["old_film 1.5", "share", "0 to 1"]),
        ({"old_film": -0.1}, ["old_film -0.1", "share", "0 to 1"]),
        ({"old_film": float("nan")}, ["old_film nan", "share", "0 to 1"]),
        ({"old_film": 0.5, "blur": "none"}, ["old_film 0.5", "equalize source", "blur none", "--equalize none --blur"]),
        ({"old_film": 0.5, "equalize": "none"}, ["old_film 0.5", "blur source", "--equalize none --blur none"]),
        ({"micro_batch": 2}, ["micro_batch 2", "at most batch, 1"]),
        ({"micro_batch": -1}, ["micro_batch -1", "0 or more"]),
        ({"penalty_every": 2}, ["penalty_every 2", "no gradient_penalty"]),
        ({"penalty_every": 0}, ["penalty_every 0", "1 or more"]),
        ({"batch": 4, "micro_batch": 2, "cuda_graph": "on"}, ["cuda_graph on", "micro_batch 2"]),
    ],
)
def test_options_that_no_run_can_use_are_errors_that_name_them(change, words):
    with pytest.raises(ValueError, match=".*".join(map(re.escape, words))):
        replace(PRESETS["pix2pix"], **change)


def test_unknown_keys_of_a_file_are_named():
    with pytest.raises(ValueError, match="frobnicate"):
        from_dict({"frobnicate": 1})


def test_the_options_of_a_run_before_old_film_still_load():
    values = json.loads(to_json(PRESETS["pix2pix"]))
    del values["old_film"]
    assert from_dict(values) == PRESETS["pix2pix"]


def test_every_option_can_be_set_on_the_command_line():
    options, folder = train.parse(
        "--preset wgan-gp --size 64 --width 8 --terms l1 10 lpips_alex 5 --amp --per-class 3 --equalize both".split()
    )
    assert folder is None
    assert options == replace(
        PRESETS["wgan-gp"],
        size=64,
        width=8,
        terms=(("l1", 10.0), ("lpips_alex", 5.0)),
        amp=True,
        per_class=3,
        equalize="both",
    )


def test_the_default_is_the_papers_final_system():
    assert train.parse(["--amp"])[0] == replace(PRESETS["wgan-gp-lpips"], amp=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--preset pix3pix", ["pix3pix", *PRESETS]),
        ("--size 100", ["100", "multiple of 32"]),
        ("--adversary hinge --data sample --lpips off", ["hinge", *ADVERSARIES]),
        ("--generator-norm layer --data sample --lpips off", ["layer", *NORMS]),
        ("--terms l7 1 --data sample --lpips off", ["l7", "l1"]),
        ("--data no/such/folder --lpips off", ["no/such/folder"]),
        ("--size 64 --critic-scales 4 --data sample --lpips off", ["64", "critic_scales 4"]),
        ("--preset gorriz-bn --size 64 --critic-layers 5 --batch 1 --data sample", ["critic_layers 5", "batch 1"]),
    ],
)
def test_wrong_values_are_one_error_that_names_them(arguments, words, tmp_path, capfd):
    try:
        code = train.main([*arguments.split(), "--images", "1", "--width", "4", "--runs", str(tmp_path)])
    except SystemExit as stop:
        code = stop.code
    said = capfd.readouterr()
    assert code == 2
    assert said.out == ""
    assert all(word in said.err for word in words)
    assert "Traceback" not in said.err


def test_dry_run_prints_the_resolved_options_and_makes_nothing(tmp_path, capsys):
    assert (
        train.main(["--dry-run", "--data", "sample", "--lpips", "off", "--device", "cpu", "--runs", str(tmp_path)]) == 0
    )
    options = from_dict(json.loads(capsys.readouterr().out))
    assert (options.device, options.compile, options.lpips) == ("cpu", "off", "off")
    assert (options.loader, options.cache, options.channels_last) == ("host", "on", "critic")
    assert options.winograd in ("on", "stride1", "last")  # by a measurement
    assert options.terms == (("l1", 100.0),)
    assert not list(tmp_path.iterdir())


def test_help_shows_every_option(capsys):
    assert train.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')}" in shown for name in NAMES)
    titles = ["often used", "photograph", "network and loss", "training", "machine", "run folder"]
    assert re.findall(r"^\W+(\w.+) options\W*$", shown, re.M) == titles


def test_help_has_every_option_in_one_box_and_those_most_use_first():
    groups = words.groups()
    assert sorted(name for names in groups.values() for name in names) == sorted(NAMES)
    assert {"preset", "data", "images", "start", "resume"} <= set(groups["often used"])
    assert len(groups["often used"]) <= 22
    assert groups["run folder"] == ["changed_files", "keep", "log_every", "samples", "log", "ranks", "quiet"]
    assert words._texts()["width"].startswith("Filters of the first layer")


def test_a_part_is_no_more_than_its_options():
    for part in (Preparation, Data, System, Training, Session, Options, Command):
        own = {name for name in vars(part) if not name.startswith("__") or name == "__post_init__"}
        assert own - {"__post_init__"} <= {field.name for field in fields(part)}, part
    names = [{field.name for field in fields(part)} for part in (Data, System, Training, Session)]
    assert names[0] & names[1] == {field.name for field in fields(Preparation)}
    assert not (names[0] | names[1]) & (names[2] | names[3])
    assert not names[2] & names[3]


def test_what_another_device_decides_anew():
    assert set(OPEN) == {*"device threads compile fused_critic winograd cuda_graph channels_last loader cache".split()}


def test_a_dry_run_checks_names_and_records_the_split_of_imagenette(tmp_path, capsys, monkeypatch):
    assert train.main(["--dry-run", "--adversary", "hinge", "--data", "sample", "--lpips", "off"]) == 2
    assert "hinge" in capsys.readouterr().err
    monkeypatch.setattr(resolve, "reachable", lambda url: True)
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path))
    assert train.main(["--dry-run", "--lpips", "off"]) == 0
    options = from_dict(json.loads(capsys.readouterr().out))
    assert (options.data, options.per_class, options.val_per_class) == ("imagenette", 50, 15)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "table"),
    [
        ("preset", PRESETS),
        ("space", SPACES),
        ("generator", GENERATORS),
        ("critic", CRITICS),
        ("generator_norm", NORMS),
        ("critic_norm", NORMS),
        ("adversary", ADVERSARIES),
        ("terms", TERMS),
    ],
)
def test_the_help_of_a_name_lists_its_table(option, table):
    text = (ROOT / "options.py").read_text()
    found = re.search(rf'^    {option}: [^\n]*\n    """(.*?)"""', text, re.M | re.S)
    assert found is not None
    assert all(re.search(rf"\b{name}\b", found.group(1)) for name in table)


def test_options_chosen_per_session_exist():
    assert set(NAMES) >= CHOSEN_PER_SESSION >= set(marked(FREE))
    assert not {field.name for field in fields(Options)} & {"runs", "name", "resume", "keep", "dry_run"}
    assert not {"size", "load_size", "flip", "equalize", "blur", "old_film"} & CHOSEN_PER_SESSION  # what is trained


def test_a_photograph_can_be_cropped_from_none_to_half():
    for load_size in (0, 256, 286, 512):
        assert Options(load_size=load_size).load_size == load_size


def test_the_presets_of_the_other_papers():
    """What their texts and code fix; systems without a published value are held by their comments alone."""
    code, paper, lab, gorriz = (PRESETS[name] for name in ("padova-code", "padova-paper", "pix2pix-lab", "gorriz"))
    assert (code.learning_rate, code.weight_decay, code.beta1, code.init_sigma) == (2e-4, 0.5, 0.9, 0.02)
    assert (code.classes, code.per_class, code.val_per_class, code.images, code.batch) == (1, 500, 150, 5000, 1)
    assert (code.adversary, code.critic_gradients, code.penalty_on) == ("wgan_code", "summed", "pair")
    assert (paper.init_sigma, paper.weight_decay, paper.gradient_penalty, paper.critic_steps) == (0.2, 0.5, 10.0, 5)
    assert PRESETS["padova-paper-lpips"].critic_steps == PRESETS["padova-code-lpips"].critic_steps == 1
    assert (lab.space, dict(lab.terms), lab.adversary) == ("lab", {"smooth_l1": 100.0}, "bce")
    for name, options in PRESETS.items():
        if name.startswith("features-"):
            assert (options.per_class, options.val_per_class, options.images) == (50, 10, 23 * 50_000)
    assert dict(PRESETS["features-vgg16"].terms)["vgg16_keras"] == 1e-5
    assert (gorriz.batch, gorriz.adversary, dict(gorriz.terms), gorriz.critic_scales) == (16, "lsgan", {"l1": 100.0}, 3)
    assert [PRESETS[f"gorriz-{n}"].spectral_norm for n in ("bn", "in", "bn-sn", "in-sn")] == [False, False, True, True]
    assert [PRESETS[f"gorriz-{n}"].critic_norm for n in ("bn", "in")] == ["batch", "instance"]


def test_weights_that_cannot_be_had_are_exit_2_with_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(features, "reachable", lambda url: False)
    monkeypatch.setattr(features.torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    assert train.main("--preset features-vgg16 --data sample --dry-run".split()) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in ("vgg16_keras", str(tmp_path / "hub"), ".pth", "--feature-weights FILE"))
    assert train.main("--preset features-vgg16 --data sample --dry-run --feature-weights random".split()) == 0
    said = capsys.readouterr()
    assert "random weights" in said.err
    assert json.loads(said.out)["feature_weights"] == "random"
