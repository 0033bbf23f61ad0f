"""HEIF photographs (.heic, .heif, .hif) by pillow-heif, an optional library: what telephones write."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from recolor_fast.photographs.containers import boxes
from recolor_fast.photographs.opened import Decoded, Opened
from recolor_fast.photographs.samples import Raster, levels, unmultiplied

DEPTHS = (8, 10, 12)  # bits a channel that are written

# Boxes at the top of a file that belong to its main picture, or to nothing (ISO 14496-12); the others are lost.
_OWN = {b"ftyp", b"meta", b"mdat", b"free", b"skip", b"idat", b"uuid", b"sefd"}
_ELSE = {b"moov": "sequence of pictures", b"mpvd": "motion photo's video"}
# What an auxiliary picture is, by how its type's name ends.
_AUXILIARY = {"hdrgainmap": "HDR gain map", "auxid:2": "depth map", "disparity": "depth map", "matte": "matte"}
# nclx (ISO 23091-2): transfer functions that mean another brightness than sRGB's, primaries of other colors.
_TRANSFERS = {8: "linear", 16: "PQ (HDR)", 18: "HLG (HDR)"}
_PRIMARIES = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}


def _open(data: bytes) -> Any:
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1  # there is a picture for each processor
    try:
        return pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    except SyntaxError as error:
        raise ValueError(str(error)) from error


def blocks(data: bytes) -> tuple[bytes, bytes]:
    """EXIF (a TIFF structure) and XMP of the main picture. Raises as `opened` does."""
    file = _open(data)
    return _blocks(file[file.primary_index].info)


def _blocks(info: dict[str, Any]) -> tuple[bytes, bytes]:
    return (info.get("exif") or b"").removeprefix(b"Exif\0\0"), info.get("xmp") or b""


def opened(data: bytes) -> Opened:
    """The main picture of a file, not yet decoded. Raises ImportError without pillow-heif, and what that raises."""
    file = _open(data)
    main = file[file.primary_index]
    info: dict[str, Any] = main.info
    bits = int(info["bit_depth"])

    def decode() -> Decoded:
        stored = np.asarray(main)
        if stored.shape[:2] != (main.size[1], main.size[0]):
            raise ValueError(f"its pixels are {stored.shape[1]} x {stored.shape[0]}, not as its header says")
        pixels, _ = levels(stored, bits)
        alpha = pixels[..., -1].copy() if main.has_alpha else None
        if alpha is not None:
            pixels = pixels[..., 0].copy() if pixels.shape[2] == 2 else pixels[..., :3].copy()
            pixels = unmultiplied(pixels, alpha) if main.premultiplied_alpha else pixels
        return Decoded(
            Raster(pixels, alpha, notes=tuple(_notes(info))),
            profile=info.get("icc_profile") or b"",
            exif=_blocks(info)[0],
            xmp=_blocks(info)[1],
            losses=tuple(dict.fromkeys(_losses(data, info, len(file)))),
        )

    width, height = main.size
    return Opened(width, height, bits, len(file), decode)


def _notes(info: dict[str, Any]) -> Iterator[str]:
    profile = info.get("nclx_profile") or {}
    if not info.get("icc_profile"):
        names = (
            _TRANSFERS.get(profile.get("transfer_characteristics", 0)),
            _PRIMARIES.get(profile.get("color_primaries", 0)),
        )
        if any(names):
            yield f"colors of {' and '.join(name for name in names if name)} taken as sRGB"


def _losses(data: bytes, info: dict[str, Any], count: int) -> Iterator[str]:
    """What of a file is in no copy of its main picture."""
    if count > 1:
        yield f"{count - 1} of {count} pictures dropped"
    if info.get("depth_images"):
        yield "depth map dropped"
    for name in info.get("aux") or {}:
        yield f"{next((what for end, what in _AUXILIARY.items() if name.endswith(end)), name)} dropped"
    for block in info.get("metadata") or ():
        yield f"metadata of type {block.get('type')} dropped"
    for kind, content, _ in boxes(data):
        if kind == b"meta" and b"tmap" in content:
            yield "HDR gain map dropped"
        if kind not in _OWN:
            yield f"{_ELSE.get(kind) or 'box ' + kind.decode('latin-1')} dropped"


def encode(planes: np.ndarray, quality: int, bits: int, settings: dict[str, Any]) -> bytes:
    """uint8 or uint16 (H,W,3) or, with alpha, (H,W,4) as a file of `bits` a channel, one of DEPTHS, sRGB.

    `settings`: exif and xmp, bytes. Raises ImportError without pillow-heif, and what that raises.
    """
    import pillow_heif

    height, width, count = planes.shape
    mode = ("RGB" if count == 3 else "RGBA") + (";16" if planes.dtype == np.uint16 else "")
    exif = {"exif": b"Exif\0\0" + settings["exif"]} if "exif" in settings else {}
    file = io.BytesIO()
    pillow_heif.encode(
        mode,
        (width, height),
        np.ascontiguousarray(planes).tobytes(),
        file,
        quality=quality,
        **({"bit_depth": bits} if planes.dtype == np.uint16 else {}),
        **(settings | exif),
    )
    return file.getvalue()
