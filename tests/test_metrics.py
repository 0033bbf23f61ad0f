"""Metrics against independent references: scikit-image, scipy, and arithmetic by hand."""

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy
from skimage import data
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from recolor_fast.evaluation import judges, metrics
from recolor_fast.photographs import images

CPU = torch.device("cpu")


@pytest.fixture
def photographs() -> list[np.ndarray]:
    return [np.ascontiguousarray(p[:128, :128]) for p in (data.astronaut(), data.coffee(), data.cat())]


def test_the_truth_has_no_error_and_full_chroma(photographs):
    found = metrics.compare(photographs, photographs)
    assert found["ab_rmse"] == 0
    assert found["chroma"] == 1
    assert found["psnr"] == pytest.approx(100)


def test_gray_is_its_own_baseline(photographs):
    grays = [np.repeat(images.gray(p)[..., None], 3, 2) for p in photographs]
    found = metrics.compare(grays, photographs)
    assert found["ab_rmse"] == pytest.approx(found["ab_rmse/gray"], rel=1e-3)
    assert found["chroma"] < 1e-3


def test_numbers_equal_scikit_image(photographs):
    rng = np.random.default_rng(0)
    noise = zip(photographs, (5, 20, 40))  # unlike: the mean of the PSNRs is not the PSNR of the mean error
    colored = [np.clip(p + rng.normal(0, sigma, p.shape), 0, 255).astype(np.uint8) for p, sigma in noise]
    found = metrics.compare(colored, photographs)
    ours, theirs = (np.stack([rgb2lab(p)[..., 1:] for p in part]) for part in (colored, photographs))
    assert found["ab_rmse"] == pytest.approx(np.sqrt(((ours - theirs) ** 2).mean()), rel=1e-3)
    chroma = np.linalg.norm(ours, axis=-1).mean() / np.linalg.norm(theirs, axis=-1).mean()
    assert found["chroma"] == pytest.approx(chroma, rel=1e-3)
    each = [peak_signal_noise_ratio(*pair) for pair in zip(photographs, colored)]
    assert found["psnr"] == pytest.approx(np.mean(each), rel=1e-6)
    assert np.mean(each) > peak_signal_noise_ratio(np.stack(photographs), np.stack(colored)) + 3


def test_nothing_and_unequal_numbers_are_errors(photographs):
    with pytest.raises(ValueError, match="no photographs"):
        metrics.compare([], [])
    with pytest.raises(ValueError, match="longer"):
        metrics.compare(photographs[:1], photographs)


# --- columns -------------------------------------------------------------------------------------------------------


@pytest.fixture
def noisy(photographs) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.clip(p + rng.normal(0, 20, p.shape), 0, 255).astype(np.uint8) for p in photographs]


def stacked(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def columns_of(colored: list[np.ndarray], truth: list[np.ndarray]) -> metrics.Columns:
    """As evaluate makes them: a row per photograph, the truth's columns beside."""
    rows = [metrics.measure(stacked(theirs, ours)) for ours, theirs in zip(colored, truth)]
    own = {name: np.stack([row[name][1] for row in rows]) for name in rows[0]}
    return own | {f"truth/{name}": np.stack([row[name][0] for row in rows]) for name in rows[0]}


def everything_missing() -> dict[str, str]:
    return {column: "not asked for" for metric in metrics.METRICS.values() for column in metric.columns}


def test_training_and_evaluation_measure_the_same(photographs, noisy):
    """validation.csv and tables.md: one PSNR, one ab error, one chroma."""
    found = metrics.compare(noisy, photographs)
    tables = metrics.summarize(columns_of(noisy, photographs), everything_missing())
    names = {"psnr": "psnr_rgb", "ab_rmse": "ab_rmse", "chroma": "chroma"}
    assert {name: found[name] for name in names} == {
        name: pytest.approx(tables[metric]["mean"], rel=1e-9) for name, metric in names.items()
    }


def test_psnr_and_ssim_equal_scikit_image(photographs, noisy):
    for ours, theirs in zip(noisy, photographs):
        found = metrics.measure(stacked(theirs, ours))
        assert found["psnr_rgb"][1] == pytest.approx(peak_signal_noise_ratio(theirs, ours), rel=1e-9)
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
        expected = structural_similarity(theirs, ours, channel_axis=2, **settings)
        assert found["ssim"][1] == pytest.approx(expected, abs=1e-5)


def test_errors_of_a_and_b_equal_scikit_images_lab(photographs, noisy):
    found = metrics.summarize(columns_of(noisy, photographs), everything_missing())
    ours, theirs = (np.stack([rgb2lab(p)[..., 1:] for p in part]) for part in (noisy, photographs))
    squares = ((ours - theirs) ** 2).mean((1, 2, 3))
    assert found["psnr_ab"]["mean"] == pytest.approx((20 * np.log10(255 / np.sqrt(squares))).mean(), rel=1e-4)
    assert found["ab_rmse"]["mean"] == pytest.approx(np.sqrt(squares.mean()), rel=1e-3)
    assert found["ab_mae"]["mean"] == pytest.approx(np.abs(ours - theirs).mean(), rel=1e-3)
    chroma = np.linalg.norm(ours, axis=-1).mean() / np.linalg.norm(theirs, axis=-1).mean()
    assert found["chroma"]["mean"] == pytest.approx(chroma, rel=1e-3)


def test_equal_pictures_have_a_finite_psnr(photographs):
    found = metrics.measure(stacked(photographs[0], photographs[0]))
    assert found["psnr_rgb"].tolist() == found["psnr_ab"].tolist() == [100, 100]
    assert found["ssim"] == pytest.approx(1)


@pytest.mark.parametrize("absolute", [False, True])
def test_colorfulness_is_the_papers_formula(photographs, absolute):
    red, green, blue = photographs[0].astype(np.float64).transpose(2, 0, 1)
    rg, yb = red - green, 0.5 * (red + green) - blue
    if absolute:
        rg, yb = np.abs(rg), np.abs(yb)
    expected = math.hypot(rg.std(), yb.std()) + 0.3 * math.hypot(rg.mean(), yb.mean())
    found = metrics.colorfulness(stacked(photographs[0]), absolute)
    assert found.item() == pytest.approx(expected, rel=1e-9)


def test_histograms_and_divergences_equal_scipys(photographs, noisy):
    found = metrics.summarize(columns_of(noisy, photographs), everything_missing())
    for plane, index in (("a", 1), ("b", 2)):
        ours, theirs = (
            np.histogram(np.stack([rgb2lab(p)[..., index] for p in part]), np.arange(-110.0, 110.0))[0] / 128**2
            for part in (noisy, photographs)
        )
        assert len(ours) == 219
        expected = jensenshannon(ours, theirs) ** 2  # it gives the root
        assert found[f"js_{plane}"]["mean"] == pytest.approx(expected, rel=2e-2)  # float32 moves pixels between bins
        assert found[f"sqrt_js_{plane}"]["mean"] == pytest.approx(math.sqrt(found[f"js_{plane}"]["mean"]))


def test_divergences_of_the_same_counts_are_scipys_exactly():
    rng = np.random.default_rng(0)
    p, q = (rng.integers(0, 5, 219).astype(float) for _ in range(2))
    assert (p == 0).any()
    assert metrics.jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q) ** 2, rel=1e-12)
    floored = np.maximum(p / p.sum(), metrics.EMPTY)
    assert metrics.kullback_leibler(p, q) == pytest.approx(entropy(q / q.sum(), floored), rel=1e-12)
    assert metrics.jensen_shannon(p, p) == 0
    assert metrics.kullback_leibler(p, p) == pytest.approx(0, abs=1e-5)  # of its empty bins' floor
    alone, other = np.eye(219)[3], np.eye(219)[5]
    assert metrics.jensen_shannon(alone, other) == pytest.approx(math.log(2))
    assert metrics.kullback_leibler(alone, other) == pytest.approx(math.log(1 / metrics.EMPTY), rel=1e-6)


def test_gray_falls_into_one_bin():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, 2)
    found = metrics.measure(stacked(np.repeat(ramp, 16, 0)))
    for plane in "ab":
        (full,) = np.flatnonzero(found[f"histogram_{plane}"][0])
        assert metrics.BINS[full] == 0
        assert found[f"histogram_{plane}"][0, full] == 16 * 256


class Fixed(torch.nn.Module):
    """A network that gives the same answer to anything."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, *asked):
        return self.answer(*asked)


def test_padova_errors_are_the_papers_arithmetic():
    source, real = torch.zeros(1, 1, 4, 4), torch.full((1, 3, 4, 4), 0.25)
    generator = Fixed(lambda source: torch.zeros(1, 3, 4, 4))
    on_real, on_fake = 0.7, -1.3
    critic = Fixed(lambda source, image: [torch.full((1, 1, 2, 2), on_real if image.any() else on_fake)])

    def bce(score: float, label: int) -> float:
        share = 1 / (1 + math.exp(-score))
        return -math.log(share if label else 1 - share)

    ours, theirs = metrics.padova_errors(generator, critic, source, real)
    assert ours == pytest.approx(0.5 * bce(on_fake, 1) + 100 * 0.25, rel=1e-5)
    assert theirs == pytest.approx((0.5 * bce(on_real, 1) + 0.5 * bce(on_fake, 0)) / 2, rel=1e-5)
    chance = Fixed(lambda source, image: [torch.zeros(1, 1, 2, 2)])
    assert metrics.padova_errors(generator, chance, source, real)[1] == pytest.approx(0.3466, abs=1e-4)


# --- over photographs ----------------------------------------------------------------------------------------------


def test_streaming_equals_all_at_once(photographs, noisy):
    """Histograms and means of single photographs, against the same of their concatenation."""
    streamed = metrics.summarize(columns_of(noisy, photographs), everything_missing())
    both = [np.concatenate(part, 1) for part in (noisy, photographs)]  # (H,3W,3): equal sizes, so means of means
    at_once = metrics.summarize(columns_of(both[:1], both[1:]), everything_missing())
    for name in ("ab_rmse", "ab_mae", "chroma", "js_a", "js_b", "kl_a", "kl_b"):
        assert streamed[name]["mean"] == pytest.approx(at_once[name]["mean"], rel=1e-5)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        found = metrics.summarize({"ssim": rng.normal(3, 1, 40)}, everything_missing(), seed)["ssim"]
        covered += found["low"] <= 3 <= found["high"]
    assert 0.88 <= covered / 200 <= 0.99


def test_an_interval_is_that_of_resampled_photographs():
    """Of a ratio and of a divergence, against resampling by hand."""
    rng = np.random.default_rng(2)
    count = 30
    columns = {"chroma": rng.random(count), "truth/chroma": 1 + rng.random(count)}
    columns |= {name: rng.integers(1, 9, (count, 219)).astype(float) for name in ("histogram_a", "truth/histogram_a")}
    found = metrics.summarize(columns, everything_missing(), 7)
    ratios, divergences = [], []
    for _ in range(3000):
        drawn = rng.integers(0, count, count)
        some = {name: values[drawn].mean(0) for name, values in columns.items()}
        ratios.append(some["chroma"] / some["truth/chroma"])
        divergences.append(jensenshannon(some["histogram_a"], some["truth/histogram_a"]) ** 2)
    for name, values in (("chroma", ratios), ("js_a", divergences)):
        low, high = np.percentile(values, (2.5, 97.5))
        assert found[name]["low"] == pytest.approx(low, abs=0.15 * (high - low))
        assert found[name]["high"] == pytest.approx(high, abs=0.15 * (high - low))
    assert metrics.summarize(columns, everything_missing(), 7) == found
    assert metrics.summarize(columns, everything_missing(), 8) != found


def test_what_is_missing_says_why():
    found = metrics.summarize({"ssim": np.ones(3), "fid": np.array(4.5)}, everything_missing())
    assert found["ssim"] == {"mean": 1, "low": 1, "high": 1}
    assert found["fid"] == {"mean": 4.5, "low": None, "high": None}
    assert found["psnr_rgb"] == {"missing": "not asked for"}
    assert found.keys() == metrics.METRICS.keys()
    assert "nan" in metrics.summarize({"ssim": np.full(3, np.nan)}, everything_missing())["ssim"]["missing"]


def test_fid_is_the_distance_of_two_gaussians():
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(0, 1, (200, 8)), rng.normal(0.5, 2, (200, 8))
    covariances = [np.cov(part, rowvar=False) for part in (ours, theirs)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((ours.mean(0) - theirs.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert metrics.fid(ours, theirs) == pytest.approx(expected, rel=1e-6)
    assert metrics.fid(ours, ours) == pytest.approx(0, abs=1e-6)


# --- pretrained networks -------------------------------------------------------------------------------------------


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No cache, and no server that answers."""
    monkeypatch.setattr(judges, "missing", lambda term, file: "no server answers")
    monkeypatch.setattr(judges, "reachable", lambda url: False)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


def test_networks_that_cannot_be_had_name_what_to_give(offline):
    for name, judged in judges.lpips_judges(None, CPU).items():
        assert judged.judge is None
        assert "no server answers; --lpips-weights FILE" in judged.reason, name
    assert "--classifier-weights FILE" in judges.classifier_judge(None, CPU).reason
    reason = judges.inception_judge(None, CPU).reason
    assert judges.INCEPTION.url in reason
    assert "--inception-weights FILE" in reason
    assert "hub/checkpoints/weights-inception-2015-12-05-6726825d.pth" in reason


def test_the_inception_address_is_torch_fidelitys():
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    assert judges.INCEPTION.url == URL_INCEPTION_V3
    assert judges.INCEPTION.name == f"weights-inception-2015-12-05-{judges.INCEPTION.sha256[:8]}.pth"


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory) -> Path:
    """A SqueezeNet 1.1 with random weights, as a file."""
    import torchvision

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "squeezenet.pth"
    torch.save(torchvision.models.squeezenet1_1().state_dict(), path)
    return path


def test_the_kind_of_backbone_decides_which_lpips_it_is(offline, squeezenet, photographs, noisy):
    found = judges.lpips_judges(squeezenet, CPU)
    assert found["lpips"].judge is None
    judged = found["lpips_style_squeeze"]
    assert judged.weights == "squeezenet.pth"
    assert judged.judge is not None
    values = judged.judge(stacked(photographs[0], photographs[0], noisy[0]))["lpips_style_squeeze"]
    assert values.shape == (3,)
    assert values[:2] == pytest.approx(0, abs=1e-6)
    assert values[2] > 0.01


def test_the_classifier_is_torchvisions(offline, squeezenet, photographs, noisy):
    import torchvision

    judged = judges.classifier_judge(squeezenet, CPU)
    network = torchvision.models.squeezenet1_1()
    network.load_state_dict(torch.load(squeezenet, weights_only=True))
    pictures = stacked(photographs[0], noisy[1])
    expected = network.eval()(torchvision.models.SqueezeNet1_1_Weights.DEFAULT.transforms()(pictures)).argmax(1)
    assert judged.judge is not None
    assert judged.judge(pictures)["class"].tolist() == expected.tolist()


def test_weights_that_misfit_are_one_error(offline, tmp_path):
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    for name in ("other.pth", "broken.pth"):
        for load in (judges.lpips_judges, judges.classifier_judge, judges.inception_judge):
            with pytest.raises(ValueError, match=name):
                load(tmp_path / name, CPU)


@pytest.mark.slow  # a network of 95 MB, written and read
def test_fid_features_are_the_inceptions(offline, monkeypatch, tmp_path, photographs):
    from torch_fidelity import feature_extractor_inceptionv3 as fidelity

    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        patch.setattr(fidelity.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(fidelity, "load_state_dict_from_url", lambda *args, **kwargs: {})
        network = fidelity.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    judged = judges.inception_judge(tmp_path / "inception.pth", CPU)
    assert judged.judge is not None
    assert judged.judge(stacked(*photographs))["inception"].shape == (3, 2048)
