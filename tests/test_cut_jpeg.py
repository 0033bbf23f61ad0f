"""JPEG files without their end, or with something before their beginning."""

import contextlib
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from recolor_fast.photographs import cut_jpeg, images, pictures
from tests import artefacts
from tests.commands import run

HEIGHT, WIDTH = 250, 180


def scene(channels: int) -> np.ndarray:
    noise = np.random.default_rng(channels).integers(0, 256, (25, 18, channels), np.uint8)
    return cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).reshape(HEIGHT, WIDTH, channels)


def saved(channels: int = 1, **settings: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(scene(channels).squeeze()).save(file, "JPEG", quality=92, **settings)
    return file.getvalue()


def first_scan(data: bytes) -> int:
    return data.index(b"\xff\xda") + 12


KINDS = {
    "gray": saved(),
    "color": saved(3),
    "full color": saved(3, subsampling=0),
    "restarts": saved(3, restart_marker_rows=2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.85, 0.95, 0.99])
def test_as_many_rows_as_are_there_are_counted(kind: str, share: float) -> None:
    """Against the decoded pixels themselves: up to there they are the whole file's, and not much beyond."""
    data = KINDS[kind]
    whole = pictures.read(data).gray
    start = first_scan(data)
    mended = cut_jpeg.mended(data[: start + round((len(data) - start) * share)])
    assert mended is not None
    seen = images.gray(images.read_rgb(mended.data))
    same = [np.array_equal(a, b) for a, b in zip(seen, images.gray(images.read_rgb(data)))]
    rows = same.index(False)
    assert seen.shape == whole.shape
    assert rows - 3 <= mended.share * HEIGHT <= rows + 18  # the upsampling of chroma looks ahead by a row or two
    assert abs(mended.share - share) < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_end_marker_missing_is_a_whole_picture(kind: str) -> None:
    data = KINDS[kind]
    whole = pictures.read(data)
    for cut in (data[:-1], data[:-2], data[:-2] + bytes(700)):
        with pytest.raises(images.UnreadableImage, match="truncated"):
            pictures.read(cut)
        with pytest.raises(images.UnreadableImage, match="truncated"):  # and so in training
            images.read_rgb(cut)
        picture = pictures.read(cut, strict=False)
        assert np.abs(picture.gray.astype(int) - whole.gray).max() <= 1
        assert picture.notes == ("loss: the JPEG is cut off, 100 % of its rows are there",)
        assert picture.original == b""


def test_nine_tenths_are_read_and_less_is_refused_with_the_share() -> None:
    data = KINDS["gray"]
    start = first_scan(data)
    lengths = [start + round((len(data) - start) * share) for share in (0.97, 0.7)]
    picture = pictures.read(data[: lengths[0]], strict=False)
    whole = pictures.read(data).gray
    rows = int(0.9 * HEIGHT)
    assert np.array_equal(picture.gray[:rows], whole[:rows])
    assert picture.notes[0].startswith("loss: the JPEG is cut off, 9")
    with pytest.raises(images.UnreadableImage, match=r"^truncated: .*; [67]\d% of its rows are there, expected 90%"):
        pictures.read(data[: lengths[1]], strict=False)


def test_a_progressive_one_is_there_once_each_coefficient_of_luminance_is() -> None:
    data = saved(3, progressive=True)
    whole = pictures.read(data).gray.astype(int)
    at, scans = 0, []
    while (at := data.find(b"\xff\xda", at + 1)) > 0:
        scans.append(at)
    ends = [*scans[1:], len(data)]
    assert len(scans) > 6
    read = []
    for begin, end in zip(scans, ends):
        cut = data[: begin + (end - begin) * 9 // 10]
        try:
            picture = pictures.read(cut, strict=False)
        except images.UnreadableImage:
            read.append(False)
        else:
            read.append(True)
            assert np.abs(picture.gray - whole).mean() < 4
    assert read == sorted(read)  # later scans only refine
    assert not read[0]
    assert read[-1]


def test_orientation_and_odd_ends_are_no_trouble() -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = saved(1, exif=exif)
    assert pictures.read(data[:-2], strict=False).gray.shape == (WIDTH, HEIGHT)
    for length in range(0, len(data), 97):
        with contextlib.suppress(images.UnreadableImage):  # and nothing else
            pictures.read(data[:length], strict=False)


def test_something_before_the_jpeg_is_left_out() -> None:
    data = KINDS["color"]
    picture = pictures.read(b"\r\n" + data, strict=False)
    assert np.array_equal(picture.gray, pictures.read(data).gray)
    assert picture.notes == ("loss: 2 bytes before the JPEG are not copied",)
    assert images.header(io.BytesIO(b"\r\n" + data)) == ("JPEG", WIDTH, HEIGHT)
    assert images.header(io.BytesIO(b"\r\n" + data), trust_suffix=False) is None
    with pytest.raises(images.UnreadableImage):
        images.read_rgb(b"\r\n" + data)


def test_the_command_colors_them_refuses_them_strictly_and_never_replaces_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = artefacts.constant(tmp_path / "model.onnx")
    folder = tmp_path / "in"
    folder.mkdir()
    files = {"no-end.jpg": KINDS["gray"][:-2], "half.jpg": KINDS["gray"][:9000], "before.jpg": b"\r\n" + KINDS["gray"]}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    assert run(folder, tmp_path / "out", model=model) == 3
    told = capsys.readouterr().err
    assert "2 colored, 0 skipped, 1 failed" in told
    assert "half.jpg: truncated" in told
    assert "1 x loss: the JPEG is cut off, 100 % of its rows are there" in told
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["before.jpg", "no-end.jpg"]
    assert run(folder, tmp_path / "strict", "--strict", model=model) == 3
    assert "0 colored, 0 skipped, 3 failed" in capsys.readouterr().err
    assert run(folder, "--in-place", model=model) == 3
    assert "0 colored, 0 skipped, 3 failed" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
