"""The papers' tables as they were printed, which presets train their rows, and what our numbers are."""

from collections.abc import Iterable
from typing import NamedTuple

from recolor_fast.options import DEFINES, Options, marked
from recolor_fast.presets import PRESETS

PADOVA = ("padova_generator", "padova_critic")
SWAPPED = ("padova_generator_swapped", "padova_critic_swapped")


class Published(NamedTuple):
    """A row of a paper's table, its figures as printed, and the presets that train that system."""

    label: tuple[str, ...]
    figures: tuple[str, ...]
    presets: tuple[str, ...]


class Table(NamedTuple):
    """A paper's table: its own columns, and the metrics that measure the same here."""

    title: str
    labels: tuple[str, ...]
    figures: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[Published, ...]
    note: str


TABLES = (
    Table(
        "Padova, Table 1: estimations of the generalization errors",
        ("Model",),
        ("Generator error", "Discriminator error"),
        (*PADOVA, *SWAPPED),
        (
            Published(("Original",), ("8.9982", "0.3435"), ("pix2pix", "padova-code-pix2pix", "padova-paper-pix2pix")),
            Published(("LPIPS",), ("10.4122", "0.4239"), ("pix2pix-lpips", "padova-code-lpips", "padova-paper-lpips")),
            Published(("WGAN",), ("11.0813", "0.6886"), ("wgan-gp", "padova-code-wgan", "padova-paper-wgan")),
            Published(("WGAN + LPIPS",), ("10.6731", "0.8153"), ("wgan-gp-lpips", "padova-code", "padova-paper")),
        ),
        "Errors as the paper's code computes them: 0.5 BCE + 100 L1, and the mean of 0.5 BCE on real and on fake pairs "
        "(0.3466 is chance), no LPIPS term for any system; the scores of a linear critic go through a sigmoid that it "
        "was not trained with. The published ones are of 150 photographs of one class with the pair swapped (the color "
        "photograph is the input, gray the target), so the swapped columns are nearest to them; they need a generator "
        "that takes three channels. Its code compared every photograph with one fixed target, ours with its own.",
    ),
    Table(
        "Tarres et al., Table 1: quantitative metrics for the models",
        ("Models", "Backbone"),
        ("JS a", "JS b", "PSNR"),
        ("js_a", "js_b", "sqrt_js_a", "sqrt_js_b", "psnr_ab"),
        (
            Published(("pix2pix", "-"), ("0.13", "0.13", "26.70"), ("pix2pix-lab",)),
            Published(
                ("Gorriz et al.", "-"),
                ("0.06", "0.06", "25.14"),
                ("gorriz", "gorriz-bn", "gorriz-in", "gorriz-bn-sn", "gorriz-in-sn"),
            ),
            Published(
                ("Our model", "VGG16"), ("0.009", "0.05", "25.13"), ("features-vgg16", "features-vgg16-torchvision")
            ),
            Published(("Our model", "ResNet"), ("0.12", "0.13", "25.23"), ("features-resnet50",)),
            Published(("Our model", "Unet"), ("0.23", "0.19", "25.19"), ("features-unet",)),
            Published(("Our model", "FPN"), ("0.15", "0.19", "25.24"), ("features-fpn",)),
        ),
        "Published on 10,000 photographs of ImageNet. The paper does not say whether its JS is the divergence or its "
        "square root (both fit its figures), nor which PSNR it means: that of a and b against 255, as in the code of "
        "Gorriz et al., fits its figures.",
    ),
)

DEFINITIONS = """\
psnr_rgb: dB, peak 255, mean over photographs of each one's PSNR (100 where there is no error)
psnr_ab: dB, 20 log10(255 / RMSE of CIE Lab a and b), mean over photographs
ab_rmse, ab_mae: errors of a and b over all photographs, Lab units
ssim: on RGB, 11x11 Gaussian window, sigma 1.5, where it fits into the picture
colorfulness: Hasler and Suesstrunk 2003, signed opponent colors; colorfulness_abs: of their absolute values
chroma: mean chroma of Lab, divided by the truth's
js, kl: histograms of a and b in 219 bins of width 1 over all photographs, natural logarithm
kl: KL(truth || system); an empty bin of the system counts as 1e-8
top1: SqueezeNet 1.1 finds the true class of ImageNet's 1,000; top1_agreement: the class it finds on the truth
gray, sepia: baselines, one Lab a, b for all pixels: 0, 0 and 3.35, 7.27 (hue of #704214, half of photographs' chroma)
padova_*: errors of Table 1 as its code computes them, photograph by photograph at the run's size, critic as in training
fid: torch-fidelity's Inception v3, 2,048 features; biased for few photographs, and without an interval
low, high: 2.5 and 97.5 percentiles of 1,000 bootstrap resamples of the photographs""".splitlines()

# What a run has in common with its preset where it stands beside a paper's figures. Sizes and weights it need not have,
# nor the loss network, which is another one where the paper's is missing (bench/reproduce.py).
DEFINING = marked(DEFINES)


def is_of(options: Options | None, presets: Iterable[str]) -> bool:
    """Whether options are what one of the presets trains, and not something else that was begun from it."""
    if options is None or options.preset not in presets:
        return False
    preset = PRESETS[options.preset]
    return all(getattr(options, name) == getattr(preset, name) for name in DEFINING)
