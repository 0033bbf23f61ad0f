"""Are pixels read right? Files of every kind, held to a second decoder: python bench/formats.py FOLDER...

Each file under the folders is colored by `colorize --json --format PNG --saturation 0 --keep-tone 0`, so that what is
written is the luminance that was read, and compared with what a decoder reads that is not the one in use: tifffile
and imagecodecs, OpenCV or, where none of them knows a format, Pillow. Numbers: equal within LEVELS (all but 1 in 1000
of the pixels that are not transparent), refused, wrong (each is named), left out (no images), unsure (no second
decoder reads it).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only bench/ itself is there
from bench.arguments import Formats as Arguments
from bench.arguments import parse

if __name__ == "__main__":
    parse(Arguments)  # --help and wrong options end here, before what takes seconds is imported


import contextlib
import io
import json
import logging
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from PIL import Image, ImageCms, ImageOps

from recolor_fast.machine import starting
from recolor_fast.photographs import images

LEVELS = 1.0 + 0.5  # of 255; a half where both round
WEIGHTS = np.array([0.299, 0.587, 0.114])


@starting.verb()
def main(argv: list[str]) -> int:
    """Print the numbers, and each file that is wrong or refused."""
    arguments = parse(Arguments, argv)
    logging.disable()
    with tempfile.TemporaryDirectory() as out:
        records = [record for folder in arguments.folders for record in colored(folder, Path(out, folder.name))]
        counts: Counter[str] = Counter()
        for record in records:
            verdict, why = judged(record)
            counts[verdict] += 1
            if verdict in ("wrong", "unsure") or (verdict == "refused" and arguments.refused):
                print(f"{verdict}: {record['input']}: {why}")
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.most_common()))
    return 0


def colored(folder: Path, out: Path) -> list[dict]:
    """The records of a folder's files, colored without color into `out`."""
    command = [sys.executable, "-m", "recolor_fast.colorize", str(folder), str(out), "--json", "--format", "PNG"]
    help = subprocess.run([*command[:3], "--help"], capture_output=True, text=True, check=True).stdout
    command += ["--saturation", "0", "--upsample", "bilinear"]
    for flag, value in (("--color", "recolor"), ("--keep-tone", "0")):  # which older versions do not have
        command += [flag, value] if f"{flag} " in help else []
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if not done.stdout:
        raise RuntimeError(done.stderr[-2000:])
    print("\n".join(line for line in done.stderr.splitlines() if " colored, " in line))
    return [json.loads(line) for line in done.stdout.splitlines()]


def judged(record: dict) -> tuple[str, str]:
    """equal, wrong, refused, left out or unsure, and why."""
    if record["status"] != "ok":
        return "left out" if record["status"] == "skipped" else "refused", record["reason"]
    written: Any = cv2.imread(record["output"], cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    mine = written[..., 1] * (255 / np.iinfo(written.dtype).max)
    data = Path(record["input"]).read_bytes()
    other, alpha, name = second(data)
    if other is None:
        return "unsure", name
    if other.shape != mine.shape:
        return "wrong", f"{mine.shape[1]} x {mine.shape[0]} pixels, by {name} {other.shape[1]} x {other.shape[0]}"
    difference = np.abs(mine - other)[slice(None) if alpha is None else alpha > 0]
    share = float((difference > LEVELS).mean()) if difference.size else 0.0
    if share <= 0.001:
        return "equal", ""
    return "wrong", f"{share:.1%} of the pixels differ from {name}, by {np.quantile(difference, 0.99):.1f} levels"


# --- the second decoder --------------------------------------------------------------------------------------------


def second(data: bytes) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """Upright luminance (H,W), 0..255, alpha or None, and the decoder's name; None and why where none reads it."""
    first: list[Callable[[bytes], Read]] = []
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        first = [of_tifffile]
    elif data[:3] == b"\xff\xd8\xff":
        first = [of_gray_jpeg]
    elif data[:4] == b"\x89PNG":
        first = [of_codec(imagecodecs.png_decode)]
    elif data[4:8] == b"jP  " or data[:4] == b"\xff\x4f\xff\x51":
        first = [of_codec(imagecodecs.jpeg2k_decode)]
    elif data[:4] == b"RIFF":
        first = [of_codec(imagecodecs.webp_decode)]
    elif data[4:12] in (b"ftypavif", b"ftypavis"):
        first = [of_codec(imagecodecs.avif_decode)]
    elif data[:2] == b"BM":
        first = [of_codec(imagecodecs.bmp_decode)]
    elif data[:4] == b"qoif":
        first = [of_codec(imagecodecs.qoi_decode)]
    elif data[:4] == b"GIF8":
        first = [of_pillow]
    why = "no second decoder"
    for decoder in (*first, of_opencv, of_pillow):
        try:
            gray, alpha = decoder(data)
            return gray, alpha, decoder.__name__.removeprefix("of_")
        except Exception as error:
            why = f"{decoder.__name__}: {' '.join(str(error).split())[:100]}"
    return None, None, why


Read = tuple[np.ndarray, np.ndarray | None]


def of_samples(values: np.ndarray, top: float, data: bytes) -> Read:
    """Luminance and alpha of gray, gray and alpha, RGB or RGBA samples, as they are stored."""
    values = values if values.ndim == 3 else values[..., None]
    share = values / top * 255
    alpha = share[..., -1] if values.shape[2] in (2, 4) else None
    colors = share[..., :3] if values.shape[2] >= 3 else share[..., 0]
    turn = 1
    profile = None
    with contextlib.suppress(Exception), Image.open(io.BytesIO(data)) as image:
        profile = image.info.get("icc_profile")
        turn = image.getexif().get(274, 1) if image.format != "TIFF" else 1
    if profile:
        colors = with_profile(colors, profile)
    gray = colors @ WEIGHTS if colors.ndim == 3 else colors
    turn = turn if turn in range(1, 9) else 1
    return images.upright(gray, turn), None if alpha is None else images.upright(alpha, turn)


def with_profile(colors: np.ndarray, profile: bytes) -> np.ndarray:
    """0..255 (H,W) or (H,W,3) by a profile, in 8 bits; as they are where it is none for them."""
    with contextlib.suppress(Exception):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        eight = np.rint(colors).astype(np.uint8)
        rgb = np.dstack([eight] * 3) if eight.ndim == 2 else eight
        space = source.profile.xcolor_space.strip()
        if space == "GRAY" and eight.ndim == 2:
            return np.asarray(
                ImageCms.profileToProfile(
                    Image.fromarray(eight), source, ImageCms.createProfile("sRGB"), outputMode="RGB"
                )
            )[..., 1].astype(float)
        if space == "RGB":
            applied = ImageCms.profileToProfile(Image.fromarray(rgb), source, ImageCms.createProfile("sRGB"))
            result = np.asarray(applied).astype(float)
            if np.abs(result - rgb).max() > 1:
                return result if eight.ndim == 3 else result @ WEIGHTS
    return colors


def of_codec(decode: Callable[[bytes], np.ndarray]) -> Callable[[bytes], Read]:
    """A decoder of imagecodecs."""

    def of(data: bytes) -> Read:
        values = decode(data)
        values = values[0] if values.ndim == 4 else values
        top = float(np.iinfo(values.dtype).max)
        if values.dtype == np.uint16 and (at := data.find(b"\xff\x4f\xff\x51")) >= 0:
            top = 2.0 ** ((data[at + 42] & 127) + 1) - 1
        if values.dtype.kind == "i":
            raise ValueError("signed")
        return of_samples(values, top, data)

    of.__name__ = f"of_{decode.__name__}"
    return of


def of_gray_jpeg(data: bytes) -> Read:
    """libjpeg's luminance, where a JPEG is gray or YCbCr and without a profile of other colors than sRGB's."""
    with Image.open(io.BytesIO(data)) as image:
        profile = image.info.get("icc_profile")
        ramp = np.dstack(np.meshgrid(*[np.arange(0.0, 256, 51)] * 2))[..., [0, 1, 1]]
        other = profile is not None and with_profile(ramp, profile) is not ramp
        if image.mode not in ("L", "RGB") or other or image.info.get("adobe_transform") == 0:
            return of_pillow(data)
    return of_samples(imagecodecs.jpeg8_decode(data, outcolorspace="GRAYSCALE"), 255, data)


def of_opencv(data: bytes) -> Read:
    values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if values is None or values.dtype.kind != "u":
        raise ValueError("not read")
    if values.ndim == 3:
        values = values[..., [2, 1, 0, *range(3, values.shape[2])]]
    top = 255.0 if values.dtype == np.uint8 else 65535.0
    if top > 255 and (head := re.match(rb"P[56](?:\s|#[^\n]*\n)+\d+\s+\d+\s+(\d+)", data)):
        top = float(head[1])
    return of_samples(values, top, data)


def of_pillow(data: bytes) -> Read:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        if image.mode.startswith("I") or image.mode == "F":
            raise ValueError(f"mode {image.mode}")
        profile = image.info.get("icc_profile")
        upright: Any = ImageOps.exif_transpose(image)
        alpha = np.asarray(upright.convert("RGBA"))[..., 3] if upright.has_transparency_data else None
        if upright.mode == "CMYK" and profile:
            rgb = ImageCms.profileToProfile(
                upright, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            return np.asarray(rgb) @ WEIGHTS, None
        if upright.mode == "LAB":
            lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
            upright = ImageCms.profileToProfile(upright, lab, srgb, outputMode="RGB")
        colors = np.asarray(upright.convert("RGBA"))[..., :3].astype(float)
    return (with_profile(colors, profile) if profile else colors) @ WEIGHTS, alpha


def of_tifffile(data: bytes) -> Read:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages.first
        if page.compression in (2, 3, 4):
            raise ValueError("CCITT, of which OpenCV's libtiff reads more")
        values = page.asarray()
        tags = page.tags
    photometric, bits = page.photometric.name, page.bitspersample
    bits = bits[0] if isinstance(bits, tuple) else bits
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = np.moveaxis(values, 0, -1)
    if values.shape[:2] != (page.imagelength, page.imagewidth):
        raise ValueError(f"shape {values.shape}")
    top, low = 2.0**bits - 1, 0.0
    if values.dtype == np.int8:  # the tag is wrong, as libtiff has it
        values = values.view(np.uint8)
    if values.dtype.kind == "b":
        top = 1.0
    if values.dtype.kind == "f":
        high = np.quantile(values[np.isfinite(values)], 0.99)
        if high > 255 or values.min() < 0:
            raise ValueError("floats that say no white")
        top = 1.0 if high <= 1 else 255.0
        values = np.nan_to_num(values)
    if values.dtype.kind == "i" and values.min() >= 0:
        top = 65535.0 if values.dtype.itemsize > 2 and values.max() <= 65535 else 2.0 ** (bits - 1) - 1
    elif values.dtype.kind == "i":
        low, top = float(values.min()), float(values.max()) - float(values.min())
    values = (values.astype(float) - low) / top * 255
    turn = tags[274].value if 274 in tags else 1
    extra = tags[338].value if 338 in tags else ()
    extra = extra if isinstance(extra, tuple) else (extra,)
    hidden = next((number for number, kind in enumerate(extra) if kind in (1, 2)), None)
    count = {"RGB": 3, "YCBCR": 3, "SEPARATED": 4, "CIELAB": 3, "ICCLAB": 3}.get(photometric, 1)
    alpha = None if hidden is None else values[..., count + hidden]
    colors = (values[..., :count] if values.ndim == 3 else values[..., None])[..., :count]
    if hidden is not None and extra[hidden] == 1:
        assert alpha is not None
        colors = np.clip(colors * 255 / np.maximum(alpha, 1e-6)[..., None], 0, 255)
    if photometric == "PALETTE":
        table = page.colormap >> 8 if page.colormap.max() > 255 else page.colormap
        colors = table.T[np.rint(colors[..., 0] / 255 * top).astype(int)].astype(float)
    elif photometric == "SEPARATED":
        colors = (255 - colors[..., :3]) * (255 - colors[..., 3:]) / 255
    elif photometric == "YCBCR" and page.compression.name not in ("JPEG", "OJPEG"):
        raise ValueError("coefficients of its own, which OpenCV's libtiff knows")
    elif photometric == "CIELAB":
        return of_pillow(data)
    elif photometric not in ("RGB", "MINISBLACK", "MINISWHITE", "YCBCR"):
        raise ValueError(photometric)
    if photometric == "MINISWHITE":
        colors = 255 - colors
    profile = tags[34675].value if 34675 in tags else None
    if profile:
        colors = with_profile(colors if colors.shape[2] == 3 else colors[..., 0], profile)
    gray = colors @ WEIGHTS if colors.ndim == 3 and colors.shape[2] == 3 else colors.reshape(colors.shape[:2])
    turn = turn if turn in range(1, 9) else 1
    return images.upright(gray, turn), None if alpha is None else images.upright(alpha, turn)


if __name__ == "__main__":
    sys.exit(main())
