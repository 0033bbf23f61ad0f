"""The loader as a training calls it: with all of a run's options."""

from recolor_fast.data import loader


def batches(options, paths, device, images=0):
    """loader.batches, by options whose loader and cache are decided."""
    assert "auto" not in (options.loader, options.cache)
    return loader.batches(options, options.batch, paths, device, images, options.loader, options.cache == "on")


def load(options, paths, device="cpu", strict=True):
    """loader.load, by options whose loader is decided."""
    assert options.loader != "auto"
    return loader.load(options, paths, device, strict, options.loader)
