"""Pixels in sRGB by the color profile that a file has embedded (ICC.1), and a profile for gray."""

import io
import struct
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageCms

from recolor_fast.photographs import images, samples
from recolor_fast.photographs.samples import Raster

EXACT = ImageCms.Flags.NOOPTIMIZE  # else LittleCMS samples a curve at so few points that it is 2 levels off


def ignored(error: Exception) -> str:
    """A note of a profile that cannot be applied."""
    return f"loss: color profile ignored, taken as sRGB: {' '.join(str(error).split())}"


def to_srgb(raster: Raster, profile: bytes) -> tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]:
    """A raster's pixels, gray (H,W) or RGB (H,W,3), in sRGB by its profile, its alpha, and notes; uint8 or uint16."""
    pixels, alpha = raster.pixels, raster.alpha
    notes: tuple[str, ...] = ()
    if profile and not raster.converted:
        try:
            if pixels.ndim == 2:
                table = gray_table(profile)
                return pixels if table is None else looked_up(pixels, table), alpha, ()
            mode = "CMYK" if pixels.shape[2] == 4 else "RGB"
            change = transform(profile, mode)
            if change is not None:
                if pixels.dtype != np.uint8:
                    notes = ("loss: 16 bits a channel became 8, as its color profile had to be applied",)
                    pixels, alpha = samples.shallow(pixels), None if alpha is None else samples.shallow(alpha)
                return np.array(ImageCms.applyTransform(Image.fromarray(pixels, mode), change)), alpha, notes
        except (ValueError, ImageCms.PyCMSError) as error:
            notes = (ignored(error),)
    return samples.color(raster), raster.alpha, notes


def _opened(profile: bytes) -> tuple[ImageCms.ImageCmsProfile, str]:
    """A profile and the color space it is for: "GRAY", "RGB", "CMYK", ... Raises ValueError."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return opened, opened.profile.xcolor_space.strip()
    except Exception as error:  # OSError, PyCMSError and others
        raise ValueError(f"{len(profile):,} bytes that are no valid profile") from error


@lru_cache(maxsize=32)
def transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From "RGB" or "CMYK" pixels with a profile to sRGB; None where it changes no color by more than 1 level.

    Raises ValueError for a profile that is broken or for other pixels.
    """
    source, space = _opened(profile)
    if space != mode:
        raise ValueError(f"it is for {space} colors, the picture is {mode}")
    try:
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except ImageCms.PyCMSError as error:
        raise ValueError(str(error)) from error
    if mode == "RGB":
        steps = np.linspace(0, 255, 9).astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(9, 81, 3)
        changed = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform))
        if np.abs(changed.astype(int) - grid).max() <= 1:
            return None
    return transform


@lru_cache(maxsize=32)
def gray_table(profile: bytes) -> np.ndarray | None:
    """sRGB gray, uint16 (65536,), of each 16-bit gray value by a profile for gray or, of its gray axis, for RGB.

    None where no 8-bit value changes by more than 1 level. Raises ValueError for a broken profile or one of others.
    """
    source, space = _opened(profile)
    values = np.arange(65536, dtype=np.uint16)
    try:
        if space == "GRAY":
            target = ImageCms.ImageCmsProfile(io.BytesIO(gray_profile()))
            transform = ImageCms.buildTransform(source, target, "I;16", "I;16", flags=EXACT)
            table = np.asarray(ImageCms.applyTransform(Image.fromarray(values.reshape(256, 256)), transform)).ravel()
        elif space == "RGB":  # LittleCMS through Pillow has 8 bits of these: in between, straight lines
            ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
            transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGB", "RGB")
            steps = images.gray(np.asarray(ImageCms.applyTransform(Image.fromarray(ramp), transform))).ravel()
            table = np.interp(values, np.arange(256) * 257, steps * 257.0).round().astype(np.uint16)
        else:
            raise ValueError(f"it is for {space} colors, the picture is gray")
    except ImageCms.PyCMSError as error:
        raise ValueError(str(error)) from error
    return None if np.abs(samples.shallow(table[::257]).astype(int) - np.arange(256)).max() <= 1 else table


def gray_profile() -> bytes:
    """An ICC profile (version 4) for gray with the tone curve of sRGB, which Pillow does not make."""

    def fixed(*values: float) -> bytes:
        return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))

    white = fixed(0.9642, 1, 0.8249)  # D50, the connection space's
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    text = b"mluc" + bytes(4) + struct.pack(">II2s2sII", 1, 12, b"en", b"US", 4, 28) + "sG".encode("utf-16-be")
    tags = {b"desc": text, b"cprt": text, b"wtpt": b"XYZ " + bytes(4) + white, b"kTRC": curve}
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content  # all of a multiple of 4 bytes
    header = struct.pack(
        ">I4xI4s4s4s12x4s", 132 + 12 * len(tags) + len(body), 0x04000000, b"mntr", b"GRAY", b"XYZ ", b"acsp"
    )
    return (header + bytes(28) + white).ljust(128, b"\0") + table + body


def looked_up(gray: np.ndarray, table: np.ndarray) -> np.ndarray:
    """uint8 or uint16 gray by a uint16 table of 65536 values: the same type."""
    return table[gray] if gray.dtype == np.uint16 else cv2.LUT(gray, samples.shallow(table[::257]))
