"""Adversaries, the gradient penalty against float64 autograd, and the perceptual terms."""

import hashlib
import math
import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.func import functional_call

from bench.paper import critic_loss, plain
from recolor_fast import resolve
from recolor_fast.losses import features, weights
from recolor_fast.losses.adversaries import ADVERSARIES
from recolor_fast.losses.features import FEATURES, LPIPS, Lpips, build_feature_loss, build_lpips
from recolor_fast.losses.penalty import gradient_penalty
from recolor_fast.losses.slopes import grad_and_value
from recolor_fast.losses.terms import TERMS, build_terms
from recolor_fast.networks.critics import build_critic
from recolor_fast.options import Options
from recolor_fast.presets import PRESETS
from recolor_fast.step.updates import critic_update

BCE = {"critic_real": lambda s: 0.5 * math.log1p(math.exp(-s)), "critic_fake": lambda s: 0.5 * math.log1p(math.exp(s))}
FORMULAS = {
    "bce": BCE | {"generator": lambda s: math.log1p(math.exp(-s))},
    "lsgan": {
        "critic_real": lambda s: 0.5 * (s - 1) ** 2,
        "critic_fake": lambda s: 0.5 * s**2,
        "generator": lambda s: (s - 1) ** 2,
    },
    "wgan": {"critic_real": lambda s: -s, "critic_fake": lambda s: s, "generator": lambda s: -s},
    "wgan_bce": {
        "critic_real": lambda s: -s,
        "critic_fake": lambda s: s,
        "generator": lambda s: math.log1p(math.exp(-s)),
    },
    "bce_code": {  # each half of BCELoss(weight=0.5), then their mean
        "critic_real": lambda s: 0.5 * 0.5 * math.log1p(math.exp(-s)),
        "critic_fake": lambda s: 0.5 * 0.5 * math.log1p(math.exp(s)),
        "generator": lambda s: 0.5 * math.log1p(math.exp(-s)),
    },
    "wgan_code": {
        "critic_real": lambda s: 0.5 * (1 / (1 + math.exp(-s)) - 1),
        "critic_fake": lambda s: 0.5 / (1 + math.exp(-s)),
        "generator": lambda s: 0.5 * math.log1p(math.exp(-s)),
    },
}


def test_a_critic_at_chance_has_the_error_that_the_padova_table_shows():
    """0.3435 is printed; log(2) / 2 is a discriminator that knows nothing."""
    chance = torch.zeros(1, 1, 30, 30)
    found = ADVERSARIES["bce_code"].critic_real(chance) + ADVERSARIES["bce_code"].critic_fake(chance)
    assert found.item() == pytest.approx(0.5 * math.log(2))


def test_the_penalty_as_coded_differentiates_the_sum_of_the_sigmoid_map_by_the_pair():
    scores = torch.randn(2, 1, 3, 3, dtype=torch.float64)
    assert ADVERSARIES["wgan_code"].value(scores).tolist() == pytest.approx(scores.sigmoid().sum((1, 2, 3)).tolist())
    w = torch.randn(1, 6, 8, 8, dtype=torch.float64)
    gray, real, fake = (torch.randn(2, 3, 8, 8, dtype=torch.float64) for _ in range(3))

    def value(source, image):
        return (w * torch.cat((source, image), 1)).sum((1, 2, 3))

    mix = torch.rand(2, 1, 1, 1, dtype=torch.float64)
    assert gradient_penalty(value, gray, real, fake, mix, "pair").item() == pytest.approx((w.norm().item() - 1) ** 2)
    on_image = gradient_penalty(value, gray, real, fake, mix, "image").item()
    assert on_image == pytest.approx((w[:, 3:].norm().item() - 1) ** 2)


@pytest.mark.parametrize("name", ADVERSARIES)
@pytest.mark.parametrize("player", ["critic_real", "critic_fake", "generator"])
def test_adversaries_are_their_formulas(name, player):
    scores = torch.linspace(-3, 3, 12, dtype=torch.float64).view(1, 1, 3, 4)
    expected = sum(FORMULAS[name][player](s) for s in scores.flatten().tolist()) / 12
    assert getattr(ADVERSARIES[name], player)(scores).item() == pytest.approx(expected)


def problem(
    norm: str, scales: int = 1, batch: int = 2, size: int = 64, seed: int = 0, gain: float = 6.0, width: int = 8
):
    """A critic whose penalty is far from flat, and a random batch, in float64. `gain` scales the initial weights."""
    torch.manual_seed(seed)
    options = replace(
        PRESETS["wgan-gp"],
        size=size,
        width=width,
        critic_norm=norm,
        critic_scales=scales,
        init_sigma=0.02 * gain,
        batch=batch,
    )
    critic = build_critic(options).double().to(memory_format=torch.channels_last)
    source, real, fake = (torch.rand(batch, c, size, size, dtype=torch.float64) * 2 - 1 for c in (1, 3, 3))
    return options, critic, (source, real, fake, torch.rand(batch, 1, 1, 1, dtype=torch.float64))


def reference(critic, options, batch):
    """Parts and gradients of the critic's loss by plain autograd in float64, with nn.LeakyReLU."""
    critic = plain(critic)
    loss, parts = critic_loss(critic, options, *batch)
    names, parameters = zip(*critic.named_parameters())
    return parts, dict(zip(names, torch.autograd.grad(loss, parameters)))


def relative_error(ours: dict, theirs: dict) -> float:
    assert ours.keys() == theirs.keys()
    difference = sum((ours[k].double() - theirs[k]).square().sum() for k in theirs)
    return (difference / sum(v.square().sum() for v in theirs.values())).sqrt().item()


def ours(critic, options, batch, compile_backend: str | None = None):
    parameters = {name: p.detach() for name, p in critic.named_parameters()}

    def run(parameters, *batch):
        return critic_update(critic, options, parameters, *batch)

    if compile_backend:
        torch._dynamo.reset()
        run = torch.compile(run, fullgraph=True, backend=compile_backend)
    with torch.no_grad():
        return run(parameters, *batch)


INDUCTOR = [pytest.mark.slow, pytest.mark.compiler]
COMPILED = [None, "aot_eager", pytest.param("inductor", marks=INDUCTOR)]


@pytest.mark.parametrize(
    ("norm", "batch", "backend"),
    [
        *(("none", 2, None), ("instance", 1, None), ("instance", 2, None), ("instance", 2, "aot_eager")),
        pytest.param("none", 2, "aot_eager", marks=pytest.mark.slow),
        pytest.param("instance", 1, "aot_eager", marks=pytest.mark.slow),
        *(pytest.param(*case, "inductor", marks=INDUCTOR) for case in (("none", 2), ("instance", 1), ("instance", 2))),
    ],
)
def test_critic_gradient_equals_float64_autograd(norm, batch, backend):
    options, critic, batch = problem(norm, batch=batch)
    parts, gradients = reference(critic, options, batch)
    assert parts["critic/penalty"] > 0.01
    found, exact = ours(critic, options, batch, backend)
    assert relative_error(exact, gradients) < 1e-9
    assert {k: v.item() for k, v in found.items()} == pytest.approx({k: v.item() for k, v in parts.items()}, rel=1e-9)
    for name, gradient in exact.items():
        assert gradient.abs().max() > 0, f"{name} has no gradient"
    if backend != "aot_eager":  # it would be compiled once more, to the same operations as without
        single = build_critic(options)
        single.load_state_dict(critic.state_dict())
        _, rounded = ours(single, options, [t.float() for t in batch], backend)
        assert relative_error(rounded, gradients) < 1e-5


@pytest.mark.parametrize("scales", [1, 3])
@pytest.mark.parametrize("weight", [0.1, 10.0])
@pytest.mark.parametrize("gain", [1.0, 4.0, 10.0])
def test_critic_gradient_over_scales_weights_and_norms(scales, weight, gain):
    options, critic, batch = problem("none", scales=scales, batch=1, size=128, seed=1, gain=gain)
    options = replace(options, gradient_penalty=weight)
    _, gradients = reference(critic, options, batch)
    assert relative_error(ours(critic, options, batch)[1], gradients) < 1e-9


@pytest.mark.parametrize(("norm", "bound"), [("none", 6e-2), ("instance", 0.12)])
def test_bfloat16_penalty_gradient_stays_near(norm, bound):
    """The penalty alone (the rest is a difference that nearly cancels), where the gradient's norm is not near 1."""
    options, critic, batch = problem(norm, gain=2.0, width=64, batch=1)
    options = replace(options, gradient_penalty=1e4)
    parts, gradients = reference(critic, options, batch)
    assert parts["critic/penalty"] > 0.01
    single = build_critic(options)
    single.load_state_dict(critic.state_dict())
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        _, half = ours(single, options, [t.float() for t in batch])
    assert relative_error(half, gradients) < bound


def test_a_compiled_backward_that_loses_the_penalty_would_be_seen():
    """The same comparison does fail for a gradient without the penalty's part."""
    options, critic, batch = problem("none")
    _, gradients = reference(critic, options, batch)
    _, without = ours(critic, replace(options, gradient_penalty=0.0), batch)
    assert relative_error(without, gradients) > 0.1


def test_penalty_of_a_linear_critic_is_known():
    """critic(image) = mean of w * image has the gradient w / pixels everywhere."""
    w = torch.randn(1, 3, 8, 8, dtype=torch.float64) * 64
    source, real, fake = (torch.randn(2, c, 8, 8, dtype=torch.float64) for c in (1, 3, 3))
    penalty = gradient_penalty(
        lambda s, image: (w * image).sum(1).mean((1, 2)),
        source,
        real,
        fake,
        torch.rand(2, 1, 1, 1, dtype=torch.float64),
    )
    assert penalty.item() == pytest.approx((w.norm().item() / 64 - 1) ** 2)


def test_penalty_of_a_flat_critic_is_one_with_finite_gradients():
    _, critic, batch = problem("none")
    zero = {name: torch.zeros_like(p) for name, p in critic.named_parameters()}

    def penalty(parameters):
        return gradient_penalty(
            lambda s, i: functional_call(critic, parameters, (s, i))[0].mean((1, 2, 3)),
            *batch,
        )

    gradients, value = grad_and_value(penalty)(zero)
    assert value.item() == pytest.approx(1, abs=1e-5)
    assert all(torch.isfinite(g).all() for g in gradients.values())


def test_mix_goes_from_fake_to_real():
    seen = []

    def critic(source, image):
        seen.append(image)
        return image.sum((1, 2, 3))

    source, real, fake = torch.zeros(2, 1, 2, 2), torch.ones(2, 3, 2, 2), torch.zeros(2, 3, 2, 2)
    gradient_penalty(critic, source, real, fake, torch.tensor([0.25, 1.0]).view(2, 1, 1, 1))
    assert torch.func.debug_unwrap(seen[0])[:, 0, 0, 0].tolist() == [0.25, 1.0]


@pytest.mark.parametrize(
    ("name", "net", "heads"),
    [("lpips_alex", "alex", True), ("lpips_vgg", "vgg", True), ("lpips_style_squeeze", "squeeze", False)],
)
def test_lpips_equals_the_lpips_package(name, net, heads):
    import lpips

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lpips.LPIPS(net=net, lpips=heads, pnet_rand=True, verbose=False)
    ours = Lpips(LPIPS[name])
    ours.load({f"features.{k.split('.', 1)[1]}": v for k, v in theirs.net.state_dict().items()}, "theirs")
    fake, real = (torch.rand(2, 3, 64, 64) * 2 - 1 for _ in range(2))
    assert ours(fake, real).item() == pytest.approx(theirs(fake, real).mean().item(), rel=1e-5)
    assert ours(real, real).item() == 0
    assert not any(p.requires_grad for p in ours.parameters())


@pytest.mark.parametrize("name", ["lpips_alex", "lpips_mini"])
def test_lpips_gradient_is_finite_where_all_features_are_zero(name):
    network = Lpips(LPIPS[name])
    for part in network.slices:
        for p in part.parameters():
            p.zero_()
    fake = torch.rand(1, 3, 64, 64, requires_grad=True)
    network(fake, torch.rand(1, 3, 64, 64)).backward()
    assert torch.isfinite(fake.grad).all()


def squeezenet() -> Path:
    path = Path(__file__).parent.parent.parent / "shared/weights/squeezenet1_1_fp16.safetensors"
    if not path.is_file():
        pytest.skip(f"no real backbone weights at ../shared/weights/{path.name}")
    return path


def test_real_weights_load_and_rank_a_blur_before_another_photograph():
    network = build_lpips("lpips_style_squeeze", str(squeezenet()))
    from skimage import data
    from torchvision.transforms.v2.functional import gaussian_blur

    cat, cup = (
        torch.from_numpy(i[:256, :256].copy()).permute(2, 0, 1)[None] / 127.5 - 1 for i in (data.cat(), data.coffee())
    )
    near, far = network(gaussian_blur(cat, [5, 5], [0.7, 0.7]), cat), network(cup, cat)
    assert 0 < near < far / 2


@pytest.mark.parametrize("term", ["lpips_alex", "lpips_vgg"])
def test_weights_that_do_not_fit_are_an_error_that_names_them(term):
    with pytest.raises(ValueError, match=r"squeezenet1_1_fp16.*does not fit") as caught:
        build_lpips(term, str(squeezenet()))
    assert term in str(caught.value)


def test_weights_that_are_no_weights_are_an_error(tmp_path):
    for name in ("page.pth", "page.safetensors"):
        (tmp_path / name).write_text("<html>404</html>")
        with pytest.raises(ValueError, match=name):
            build_lpips("lpips_alex", str(tmp_path / name))
    torch.save(torch.zeros(3), tmp_path / "tensor.pth")
    with pytest.raises(ValueError, match=r"tensor\.pth.*holds a Tensor"):
        build_lpips("lpips_alex", str(tmp_path / "tensor.pth"))


def test_a_damaged_cached_backbone_is_an_error_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / weights.PRETRAINED[LPIPS["lpips_alex"].weights].name).write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"alexnet.*its SHA-256 is .*damaged: delete it"):
        build_lpips("lpips_alex", "")


def test_weights_are_downloaded_once_into_a_private_folder_and_checked_each_time(tmp_path, monkeypatch):
    what = weights.PRETRAINED[LPIPS["lpips_style_squeeze"].weights]
    content = b"weights"
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "fetch", lambda asked, path: path.write_bytes(content) if asked == what else None)
    path = weights.pretrained(what)
    assert path == tmp_path / "cache" / "weights" / "squeezenet1_1-b8a52dc0.pth"
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ValueError, match=r"squeezenet1_1-b8a52dc0\.pth: its SHA-256 is .*damaged: delete it"):
        weights.pretrained(what)
    assert weights.pretrained(what._replace(sha256=hashlib.sha256(content).hexdigest())) == path


def test_every_networks_weights_are_pinned_and_named_by_their_sha():
    from torchvision.models import get_weight

    for row in (*LPIPS.values(), *FEATURES.values()):
        if row == LPIPS["lpips_mini"]:
            continue  # in the package
        what, theirs = weights.PRETRAINED[row.weights], get_weight(row.weights)
        assert what.url == theirs.url
        assert what.url.startswith("https://")
        assert what.name.removesuffix(".pth").endswith(f"-{what.sha256[:8]}")
        assert what.size / 2**20 == pytest.approx(theirs.meta["_file_size"], rel=0.02)


OPTIONS = PRESETS["wgan-gp-lpips"]


def test_auto_keeps_the_term_whose_weights_can_be_had(capsys):
    resolved = resolve.lpips(OPTIONS, probe=lambda term, file: "")
    assert (resolved.lpips, resolved.terms) == ("lpips_alex", OPTIONS.terms)
    assert capsys.readouterr().err == ""


def test_auto_falls_back_to_lpips_mini_with_one_warning(capsys):
    resolved = resolve.lpips(OPTIONS, probe=lambda term, file: "no network")
    assert (resolved.lpips, resolved.terms) == ("lpips_mini", (("l1", 100.0), ("lpips_mini", 50.0)))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert len(said) < 120
    assert "no weights of lpips_alex here: lpips_mini takes its place" in said
    page = (Path(__file__).parent.parent / "docs" / "training.md").read_text()
    assert "--lpips-weights FILE" in page.split("## What may be missing")[1]
    assert resolve.lpips(resolved) == resolved  # --resume asks again
    assert capsys.readouterr().err == ""


def test_a_named_term_takes_the_presets_place_and_must_be_had(tmp_path):
    asked = replace(OPTIONS, lpips="lpips_style_squeeze")
    assert resolve.lpips(asked, probe=lambda term, file: "").terms == (("l1", 100.0), ("lpips_style_squeeze", 50.0))
    with pytest.raises(ValueError, match="no network"):
        resolve.lpips(asked, probe=lambda term, file: "no network")
    with pytest.raises(ValueError, match=r"no file .*gone\.pth"):
        resolve.lpips(replace(OPTIONS, lpips_weights=str(tmp_path / "gone.pth")))
    with pytest.raises(ValueError, match="lpips_nine"):
        resolve.lpips(replace(OPTIONS, lpips="lpips_nine"))
    with pytest.raises(ValueError, match="expected one LPIPS term"):
        resolve.lpips(replace(PRESETS["pix2pix"], lpips="lpips_alex"))


def test_two_lpips_terms_and_weights_without_a_term_are_errors():
    both = replace(OPTIONS, terms=(("l1", 1.0), ("lpips_alex", 2.0), ("lpips_vgg", 3.0)))
    with pytest.raises(ValueError, match="found 2"):
        resolve.lpips(both, probe=lambda term, file: "")
    with pytest.raises(ValueError, match="no LPIPS term takes it"):
        resolve.lpips(replace(PRESETS["pix2pix"], lpips_weights="file.pth"))


def test_off_and_presets_without_lpips_ask_for_nothing():
    def never(term, file):
        raise AssertionError("asked for weights")

    assert resolve.lpips(replace(OPTIONS, lpips="off"), probe=never).terms == (("l1", 100.0),)
    assert resolve.lpips(PRESETS["pix2pix"], probe=never).lpips == "off"


def test_cached_weights_are_found_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(features, "reachable", lambda url: False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert "does not answer" in features.missing("lpips_alex", "")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / weights.PRETRAINED[LPIPS["lpips_alex"].weights].name).touch()
    assert features.missing("lpips_alex", "") == ""


def test_a_term_of_weight_zero_is_not_built():
    assert build_terms(replace(OPTIONS, terms=(("l1", 0.0),))) == []
    assert [t.name for t in build_terms(replace(OPTIONS, terms=(("l1", 1.0),)))] == ["l1"]
    assert set(LPIPS) <= set(TERMS)


# --- feature reconstruction ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FEATURES)
def test_feature_loss_is_johnsons_at_stride_four(name):
    """Squared distance over C*H*W of a layer a quarter as wide, zero on the same image, a gradient on another."""
    torch.manual_seed(0)
    network = build_feature_loss(name, "random")
    fake, real = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    features, target = network.features(fake), network.features(real)
    assert features.shape[2:] == (16, 16)
    expected = (features - target).square().sum((1, 2, 3)) / features[0].numel()
    assert network(fake, real).item() == pytest.approx(expected.mean().item(), rel=1e-5)
    assert network(real, real).item() == 0
    fake.requires_grad_()
    network(fake, real).backward()
    assert torch.isfinite(fake.grad).all()
    assert fake.grad.abs().max() > 0
    assert not any(p.requires_grad for p in network.parameters())


def test_keras_preprocessing_is_0_to_255_minus_the_mean():
    """Black is minus Caffe's mean of ImageNet (103.939, 116.779, 123.68 in BGR), to its third decimal."""

    class Layers(torch.nn.Module):
        def forward(self, image):
            return {"features": image}

    network = build_feature_loss("vgg16_keras", "random")
    network.layers = Layers()
    black, white = network.features(torch.tensor([-1.0, 1.0])[:, None, None, None].expand(2, 3, 8, 8))[:, :, 0, 0]
    assert black.tolist() == pytest.approx([-123.0, -117.0, -104.0], abs=0.05)
    assert (white - black).tolist() == pytest.approx([255.0] * 3)


def test_feature_weights_of_a_file_are_loaded(tmp_path, capsys):
    import torchvision

    with torch.random.fork_rng():
        resnet = torchvision.models.resnet50(weights=None).state_dict()
    torch.save(resnet, tmp_path / "resnet50.pth")
    alone = build_feature_loss("resnet50", str(tmp_path / "resnet50.pth")).layers.state_dict()
    assert torch.equal(alone["layer1.2.conv3.weight"], resnet["layer1.2.conv3.weight"])
    encoder = build_feature_loss("unet", str(tmp_path / "resnet50.pth"))
    assert torch.equal(encoder.layers.state_dict()["encoder.layer4.2.conv3.weight"], resnet["layer4.2.conv3.weight"])
    assert "decoder is a fixed random one" in capsys.readouterr().err
    again = build_feature_loss("unet", str(tmp_path / "resnet50.pth"))
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(encoder.features(image), again.features(image))  # the decoder's seed is fixed
    with pytest.raises(ValueError, match=r"resnet50\.pth.*does not fit.*features"):
        build_feature_loss("vgg16", str(tmp_path / "resnet50.pth"))


def test_real_vgg_features_rank_a_blur_before_another_photograph():
    path = squeezenet().with_name("vgg19_to_conv3_4.safetensors")
    network = build_feature_loss("vgg19", str(path))
    from skimage import data
    from torchvision.transforms.v2.functional import gaussian_blur

    cat, cup = (
        torch.from_numpy(i[:128, :128].copy()).permute(2, 0, 1)[None] / 127.5 - 1 for i in (data.cat(), data.coffee())
    )
    assert 0 < network(gaussian_blur(cat, [5, 5], [0.7, 0.7]), cat) < network(cup, cat) / 2


def test_smooth_l1_takes_its_beta():
    (term,) = build_terms(Options(terms=(("smooth_l1", 1.0),), smooth_l1_beta=0.5))
    error = torch.tensor([0.1, 2.0])
    found = term.loss(error, torch.zeros(2)).item()
    assert found == pytest.approx((0.5 * 0.1**2 / 0.5 + 2.0 - 0.25) / 2)


def test_a_loss_network_without_weights_is_an_error_that_says_where_to_put_them():
    options = PRESETS["features-vgg16"]
    with pytest.raises(ValueError, match=r"vgg16_keras.*amdegroot.*--feature-weights FILE"):
        resolve.check_features(
            options, lambda term, file: f"https://x/{weights.PRETRAINED[FEATURES[term].weights].name} does not answer"
        )
    with pytest.raises(ValueError, match="no loss network takes it"):
        resolve.check_features(replace(PRESETS["pix2pix"], feature_weights="random", lpips="off"))


def test_random_feature_weights_warn_and_stay_recorded(capsys):
    options = replace(PRESETS["features-fpn"], feature_weights="random")
    resolve.check_features(options)
    assert "fpn has random weights" in capsys.readouterr().err
    assert options.feature_weights == "random"
    resolved = resolve.lpips(replace(OPTIONS, feature_weights="random"))
    assert resolved.lpips == "lpips_alex"
    assert "lpips_alex has random weights" in capsys.readouterr().err


def test_older_names_of_a_feature_pyramid_are_understood(tmp_path):
    """torchvision renamed the pyramid's blocks after it published its COCO weights."""
    import torchvision

    weights = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict()
    old = {re.sub(r"(_blocks\.\d+)\.0\.", r"\1.", key): value for key, value in weights.items()}
    assert old.keys() != weights.keys()
    torch.save(old, tmp_path / "old.pth")
    torch.save(weights, tmp_path / "new.pth")
    image = torch.rand(1, 3, 64, 64)
    first, second = (build_feature_loss("fpn", str(tmp_path / name)).features(image) for name in ("old.pth", "new.pth"))
    assert torch.equal(first, second)
