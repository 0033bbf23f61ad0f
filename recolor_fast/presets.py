"""The papers' systems as rows of one table. Each row's comment says: the paper, its code, or our choice."""

from dataclasses import replace

from recolor_fast.options import Options

# pix2pix as the Padova paper trains it (section V): U-Net-256, 70x70 PatchGAN, BCE + 100 L1, 500 photographs, 10
# epochs, batch 1; sigma 0.02 and Adam betas (0.5, 0.999) from the reference code (the paper's 0.2 and "weight decay
# 0.5" are misprints); equalized and blurred source only is our choice: equalizing the target changes its colors.
_pix2pix = Options(preset="pix2pix")
# WGAN with gradient penalty 10 and 5 critic steps (paper, section V-B and eq. 1); a linear critic without batch norm
# and a score that is the mean of the map in loss and penalty alike (Gulrajani et al. 2017; our choice), no norm at all.
# The adversary's weight is 20 / size: at the fake it then pulls about half as hard as 100 L1, whose pull falls as
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

PRESETS = {
    options.preset: options
    for options in (
        _pix2pix,
        replace(_pix2pix, preset="pix2pix-lpips", terms=_lpips),
        _wgan_gp,
        replace(_wgan_gp, preset="wgan-gp-lpips", terms=_lpips),
    )
}
DEFAULT = "wgan-gp-lpips"
