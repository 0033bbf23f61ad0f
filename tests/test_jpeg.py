"""JPEG segments: what is taken apart is put together again, and joined scans decode to the very same samples."""

import io

import cv2
import numpy as np
import pytest
import simplejpeg
from PIL import Image

from recolor_fast.photographs import jpeg


def saved(pixels: np.ndarray, **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **settings)
    return file.getvalue()


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def halves(height: int, width: int, progressive: bool = False) -> tuple[bytes, bytes]:
    """Cb of 90 and Cr of 170 for a picture of height x width."""
    shape = (-(-height // 2), -(-width // 2))
    planes = (np.full(shape, value, np.uint8) for value in (90, 170))
    cb, cr = (saved(plane, progressive=progressive, qtables=[[2] * 64]) for plane in planes)
    return cb, cr


LUMA = saved(noise(40, 56), quality=80)
HALVES = halves(40, 56)
KINDS: list[dict[str, object]] = [
    {},
    {"optimize": True},
    {"restart_marker_blocks": 3},
    {"progressive": True},
    {"progressive": True, "restart_marker_rows": 1},
]


@pytest.mark.parametrize("settings", KINDS)
def test_taken_apart_and_put_together_is_the_same_file(settings: dict[str, object]) -> None:
    data = saved(noise(100, 130), comment=b"hello", **settings)
    assert jpeg.write(jpeg.parse(data)) == data
    assert (jpeg.COM, b"hello", b"") in jpeg.head(data)


def test_fill_bytes_and_what_follows_the_end_are_skipped() -> None:
    wanted = list(jpeg.parse(LUMA))
    at = LUMA.index(b"\xff\xdb")
    assert list(jpeg.parse(LUMA[:at] + b"\xff\xff" + LUMA[at:] + LUMA)) == wanted


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "no JPEG"),
        (b"\x89PNG", "no JPEG"),
        (LUMA[:2], "truncated"),
        (LUMA[:30], "more or less"),
        (LUMA[:-2], "truncated"),
        (LUMA[:2] + b"\0" + LUMA[2:], "stray byte"),
        (LUMA[:2] + b"\xff\xe5\0\1" + LUMA[2:], "says 1 bytes"),
    ],
)
def test_broken_structure_is_named(data: bytes, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        list(jpeg.parse(data))
    jpeg.head(data)  # reads what there is


def test_random_bytes_never_raise_anything_else() -> None:
    random = np.random.default_rng(0)
    for _ in range(2000):
        data = bytearray(LUMA)
        for at in random.integers(2, 400, 3):
            data[at] = random.integers(256)
        try:
            jpeg.join(bytes(data), *HALVES)
        except ValueError:
            continue


@pytest.mark.parametrize("with_jfif", [True, False])
def test_spliced_segments_come_first_and_pixels_stay(with_jfif: bool) -> None:
    new = [jpeg.Segment(jpeg.APP0, b"JFIF\0\1\1\1\0\x48\0\x48\0\0")] if with_jfif else []
    new.append(jpeg.Segment(jpeg.COM, b"spliced"))
    got = jpeg.splice(LUMA, new)
    segments = list(jpeg.parse(got))
    assert segments[: len(new)] == new
    assert [s for s in segments if s.marker == jpeg.APP0] == (
        new[:1] if with_jfif else [s for s in jpeg.parse(LUMA) if s.marker == jpeg.APP0]
    )
    assert np.array_equal(simplejpeg.decode_jpeg(got, "GRAY"), simplejpeg.decode_jpeg(LUMA, "GRAY"))
    with pytest.raises(ValueError, match="70,000 bytes"):
        jpeg.splice(LUMA, [jpeg.Segment(jpeg.COM, bytes(70_000))])


@pytest.mark.parametrize("settings", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (9, 1), (16, 16), (17, 33), (480, 641)])
def test_joined_luma_is_bit_for_bit_the_gray_files(settings: dict[str, object], size: tuple[int, int]) -> None:
    luma = saved(noise(*size), quality=80, **settings)
    note = jpeg.Segment(jpeg.COM, b"joined")
    got = jpeg.join(luma, *halves(*size, progressive="progressive" in settings), [note])
    scans = [segment.scan for segment in jpeg.parse(luma) if segment.scan]
    assert scans
    assert [segment.scan for segment in jpeg.parse(got) if segment.scan][: len(scans)] == scans
    assert next(jpeg.parse(got)) == note
    samples = simplejpeg.decode_jpeg(luma, "GRAY")
    assert np.array_equal(simplejpeg.decode_jpeg(got, "GRAY"), samples)
    with Image.open(io.BytesIO(got)) as image:
        image.draft("YCbCr", None)
        planes = np.asarray(image)
    assert np.array_equal(planes[..., :1], samples)
    assert np.abs(planes[..., 1:].astype(int) - (90, 170)).max() <= 1
    with Image.open(io.BytesIO(got)) as image:
        rgb = np.asarray(image.convert("RGB"))
    assert np.array_equal(simplejpeg.decode_jpeg(got, "RGB"), rgb)
    opened = cv2.imdecode(np.frombuffer(got, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(opened[..., ::-1], rgb)


def test_luma_with_several_tables_and_another_slot() -> None:
    data = saved(noise(40, 56), quality=80)
    segments = list(jpeg.parse(data))
    moved = []
    for segment in segments:
        if segment.marker == jpeg.DQT:  # slot 1, behind a table that nothing uses
            segment = segment._replace(payload=b"\0" + bytes([99] * 64) + b"\1" + segment.payload[1:])
        if segment.marker == 0xC0:
            segment = segment._replace(payload=segment.payload[:6] + b"\x07\x22\x01")
        if segment.marker == jpeg.SOS:
            segment = segment._replace(payload=b"\1\x07" + segment.payload[2:])
        moved.append(segment)
    data = jpeg.write(moved)
    samples = simplejpeg.decode_jpeg(data, "GRAY")
    got = jpeg.join(data, *HALVES)
    assert np.array_equal(simplejpeg.decode_jpeg(got, "GRAY"), samples)
    want = jpeg.join(LUMA, *HALVES)
    assert np.array_equal(simplejpeg.decode_jpeg(got, "RGB"), simplejpeg.decode_jpeg(want, "RGB"))


def with_frame(marker: int, precision: int = 8) -> bytes:
    at = LUMA.index(b"\xff\xc0")
    return LUMA[: at + 1] + bytes((marker,)) + LUMA[at + 2 : at + 4] + bytes((precision,)) + LUMA[at + 5 :]


@pytest.mark.parametrize(
    ("luma", "chroma", "word"),
    [
        (with_frame(0xC9), HALVES, "coded as arithmetic coding"),
        (with_frame(0xC3), HALVES, "lossless"),
        (with_frame(0xC5), HALVES, "differential"),
        (with_frame(0xC1, 12), HALVES, "12 bits"),
        (saved(np.dstack([noise(40, 56)] * 3)), HALVES, "3 components"),
        (LUMA, halves(42, 56), "expected 20 x 28"),
        (LUMA, halves(40, 56, progressive=True), "progressive chroma"),
        (saved(noise(40, 56), progressive=True), HALVES, "baseline chroma"),
        (LUMA, (HALVES[0], saved(noise(20, 28), quality=30)), "two different"),
    ],
)
def test_what_cannot_be_joined_is_named(luma: bytes, chroma: tuple[bytes, bytes], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        jpeg.join(luma, *chroma)


@pytest.mark.parametrize("subsampling", [0, 2])
def test_cropping_keeps_every_other_pixel(subsampling: int) -> None:
    data = saved(np.dstack([noise(64, 48, seed) for seed in range(3)]), subsampling=subsampling, comment=b"\xff\xc0")
    got = jpeg.cropped(data, 63, 42)
    assert np.array_equal(simplejpeg.decode_jpeg(got, "GRAY"), simplejpeg.decode_jpeg(data, "GRAY")[:63, :42])
    for size in ((65, 48), (64, 32), (48, 48), (0, 48)):
        with pytest.raises(ValueError, match=f"64 x 48 pixels cannot be cropped to {size[0]} x {size[1]}"):
            jpeg.cropped(data, *size)
