"""Presets as rows of one table. Each row's comment says: the paper, its code, or our choice."""

from dataclasses import replace
from typing import Any

from recolor_fast.options import Command

# --- Padova (Cano Caldero and Moncada Ramirez), the reading that works: published settings, their misprints corrected

# pix2pix as the Padova paper trains it (section V): U-Net-256, 70x70 PatchGAN, BCE + 100 L1, 500 photographs, 10
# epochs, batch 1; sigma 0.02 and Adam betas (0.5, 0.999) from the reference code (the paper's 0.2 and "weight decay
# 0.5" are misprints); equalized and blurred source only is our choice: equalizing the target changes its colors.
_pix2pix = Command(preset="pix2pix")
# WGAN with gradient penalty 10 and 5 critic steps (paper, section V-B and eq. 1); a linear critic without batch norm
# and a score that is the mean of the map in loss and penalty alike (Gulrajani et al. 2017; our choice), no norm at
# all. The adversary's weight is 20 / size: at the fake it then pulls about half as hard as 100 L1, whose pull falls as
# 1 / size; more paints freely, less leaves gray (bench/LOG.md).
_wgan_gp = replace(
    _pix2pix,
    preset="wgan-gp",
    adversary="wgan",
    adversary_weight=0.08,
    gradient_penalty=10.0,
    critic_steps=5,
    critic_norm="none",
    critic_bias=False,
)
_lpips = (("l1", 100.0), ("lpips_alex", 50.0))  # paper, section V-A; AlexNet from its code

# --- Padova as coded: its notebook's settings, faults included, as far as they are settings --------------------------

# Gray in three channels, biases everywhere, Adam(lr=0.0002, weight_decay=0.5) with torch's default betas, BCE of
# weight 0.5 on both sides, all photographs of one class (the first 500 of a folder sorted by class). The runs behind
# its table were made before equalize and blur came in. Not settings, so not here: its real pairs took one fixed target
# in the two runs without WGAN, the photographs came unshuffled.
_code = replace(
    _pix2pix,
    preset="padova-code-pix2pix",
    source_channels=3,
    conv_bias="on",
    beta1=0.9,
    weight_decay=0.5,
    adversary="bce_code",
    equalize="none",
    blur="none",
    classes=1,
    per_class=500,
    val_per_class=150,
)
# Its WGAN: 5 critic steps whose gradients add up, on a sigmoid critic with batch norm that is told to lower its output
# on real photographs too; the penalty differentiates the sum of the map by the pair. The generator keeps BCE.
_code_wgan = replace(
    _code,
    preset="padova-code-wgan",
    adversary="wgan_code",
    gradient_penalty=10.0,
    penalty_on="pair",
    critic_steps=5,
    critic_gradients="summed",
)

# --- Padova as written: the paper taken at its word ------------------------------------------------------------------

# Sigma 0.2, Adam 0.0002 with weight decay 0.5 (betas not given: torch's defaults), equalized and blurred. Both images
# of a pair are "preprocessed", which we read as equalize and blur on both. 500 photographs, classes not said.
_paper = replace(
    _pix2pix,
    preset="padova-paper-pix2pix",
    init_sigma=0.2,
    beta1=0.9,
    weight_decay=0.5,
    equalize="both",
    blur="both",
)
# Eq. 1 with its second expectation over real photographs: printed over generated ones, which would make the critic's
# loss zero. Section V-A keeps cross entropy for the generator, V-B batch norm in the critic.
_paper_wgan = replace(
    _paper, preset="padova-paper-wgan", adversary="wgan_bce", gradient_penalty=10.0, critic_steps=5, critic_bias=False
)

# --- Tarres et al.: ab from L, smooth L1, adversary, and a feature reconstruction loss -------------------------------

# Paper (sections 3 and 4.1): CIE Lab, smooth L1, U-Net and PatchGAN "the same as pix2pix", 50 photographs a class of
# ImageNet to train on and 10 to test, 23 epochs of 50,000. Our choices where it is silent: BCE of weight 1 and smooth
# L1 of weight 100 as in pix2pix; beta 1, where ab / 110 makes it half the squared error nearly everywhere; batch 16 as
# its co-authors' code; no equalizing, which Lab does not allow, and no blur. The input is the gray photograph's Y',
# whose L stands in for the color photograph's own (0.3 to 1.6 units off on the five samples), so that one gray
# photograph is enough to color and luminance can be kept.
_lab = replace(
    _pix2pix,
    preset="pix2pix-lab",
    space="lab",
    equalize="none",
    blur="none",
    terms=(("smooth_l1", 100.0),),
    batch=16,
    per_class=50,
    val_per_class=10,
    images=23 * 50_000,
    save_every=50_000,
    log_every=1_600,
)


def _features(preset: str, network: str, weight: float) -> Command:
    return replace(_lab, preset=preset, terms=(*_lab.terms, (network, weight)))


# --- Gorriz et al. 2019: their code (bbc/ColorGAN), experiment 7 -----------------------------------------------------

# U-Net with nearest-neighbor upsampling, critics whose every layer halves, at 1x, 1/2x and 1/4x; least squares + 100
# mean absolute error; spectral norm in both networks; batch norm but for instance norm on the decoder's last and the
# critic's second layer; Glorot weights, no dropout, Adam (0.5, 0.999), batch 16, 200 epochs of 50,000. Ours: bilinear
# resizing where theirs takes the nearest pixel, one critic update on real and fake where theirs makes two, a fake of
# the training pass where theirs predicts another, torch's epsilons and momenta of norms.
_gorriz = replace(
    _lab,
    preset="gorriz",
    generator="nearest",
    critic="strided",
    critic_scales=3,
    adversary="lsgan",
    terms=(("l1", 100.0),),
    generator_last_norm="instance",
    critic_first_norm="instance",
    spectral_norm=True,
    dropout=0.0,
    init="glorot",
    images=200 * 50_000,
)


def _gorriz_with(preset: str, norm: str, spectral_norm: bool) -> Command:
    """Their other models, of one norm throughout, at one scale."""
    same: dict[str, Any] = dict.fromkeys(("generator_norm", "critic_norm"), norm)
    same |= dict.fromkeys(("generator_last_norm", "critic_first_norm"), "")
    return replace(_gorriz, preset=preset, spectral_norm=spectral_norm, critic_scales=1, **same)


PAPERS = {
    options.preset: options
    for options in (
        _pix2pix,
        replace(_pix2pix, preset="pix2pix-lpips", terms=_lpips),
        _wgan_gp,
        replace(_wgan_gp, preset="wgan-gp-lpips", terms=_lpips),
        _code,
        replace(_code, preset="padova-code-lpips", terms=_lpips),
        _code_wgan,
        replace(_code_wgan, preset="padova-code", terms=_lpips),
        _paper,
        replace(_paper, preset="padova-paper-lpips", terms=_lpips),
        _paper_wgan,
        replace(_paper_wgan, preset="padova-paper", terms=_lpips),
        _lab,
        # Paper: VGG16's block3_conv3 at weight 1e-5, the best. A weight for activations of Keras' VGG16 (its layer's
        # name, its co-authors' library); with torchvision's, squares are some 3,000 times smaller and 0.03 is the like
        # order.
        _features("features-vgg16", "vgg16_keras", 1e-5),
        _features("features-vgg16-torchvision", "vgg16", 0.03),
        # Paper: only the networks' names. Layers of block3_conv3's stride, 4, and weight 1, are our choice; the weight
        # is a guess for activations of order 1, behind batch norm.
        _features("features-resnet50", "resnet50", 1.0),
        _features("features-unet", "unet", 1.0),
        _features("features-fpn", "fpn", 1.0),
        _gorriz,
        _gorriz_with("gorriz-bn", "batch", False),
        _gorriz_with("gorriz-in", "instance", False),
        _gorriz_with("gorriz-bn-sn", "batch", True),
        _gorriz_with("gorriz-in-sn", "instance", True),
    )
}

# --- the colorizer that comes with the package, trained on with photographs of one's own -----------------------------

# Its networks and loss (bench/records/train_shipped.py), at the size that it is used at.
_fine_tune = replace(
    _lab,
    preset="fine-tune",
    start="shipped",
    generator="lite2",
    width=40,
    generator_norm="none",
    critic="",
    per_class=None,
    val_per_class=None,
    size=160,
    load_size=192,
    flip=True,
    old_film=0.25,
    colorless=0.03,
    dropout=0.2,
    freeze_encoder=1.0,
    learning_rate=3e-4,
    beta1=0.9,
    decay=1.0,
    amp=True,
    channels_last="on",
    images=2400,
    save_every=600,
    log_every=240,
)

PRESETS = PAPERS | {_fine_tune.preset: _fine_tune}
DEFAULT = "wgan-gp-lpips"
STARTS = {options.start: name for name, options in PRESETS.items() if options.start}  # start -> preset of its networks
