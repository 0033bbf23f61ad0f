"""Scans of several pages: the first alone, which is said, or all of them, each as it was, in one TIFF again."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, TiffImagePlugin

from recolor_fast.photographs import images, pages, pictures
from tests.commands import run
from tests.test_heif import NEUTRAL, scene


def scan(*sheets: np.ndarray, **settings: object) -> bytes:
    """A TIFF of gray pages of any depths and sizes, each with its name."""
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **settings) as writer:
        for number, sheet in enumerate(sheets):
            extra = [(285, "s", 0, f"page {number}", True), (315, "s", 0, "Somebody", True)]
            resolution = {"resolution": (300 + number, 300 + number), "resolutionunit": 2}
            writer.write(
                sheet, photometric="minisblack", extratags=extra, metadata=None, contiguous=False, **resolution
            )
    return file.getvalue()


def sheets() -> list[np.ndarray]:
    """Three pages of different sizes, the last of 16 bits."""
    first, second = scene(40, 50)[..., 0].copy(), scene(66, 30)[..., 1].copy()
    return [first, second, scene(25, 71, top=65535)[..., 2].copy()]


@pytest.mark.parametrize("settings", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"bigtiff": True, "byteorder": ">"}])
def test_split(settings: dict[str, object]) -> None:
    found = pages.split(scan(*sheets(), **settings))
    assert len(found) == pages.count(io.BytesIO(scan(*sheets(), **settings))) == 3
    for number, (page, sheet) in enumerate(zip(found, sheets())):
        picture = pictures.read(page)
        assert np.array_equal(picture.gray, sheet)
        assert not any("pictures" in note for note in picture.notes)
        assert picture.metadata.dpi == pytest.approx((300 + number, 300 + number))
    for other in (b"", b"II*\0", b"no TIFF", scan(sheets()[0])):
        assert pages.split(other) == [other]
        assert pages.count(io.BytesIO(other)) == 1


def test_joined_keeps_pixels_and_directories_below() -> None:
    exif = Image.Exif()
    exif.get_ifd(34665)[33434] = TiffImagePlugin.IFDRational(1, 125)
    exif.get_ifd(34853)[1] = "N"
    file = io.BytesIO()
    exif[270] = "what is on it"
    Image.fromarray(sheets()[0]).save(file, "JPEG", exif=exif)
    picture = pictures.read(file.getvalue())
    both = (picture, pictures.read(scan(sheets()[2])))
    written = [pictures.encode(one, NEUTRAL, "TIFF")[0] for one in both]
    data = pages.joined([*written, written[0], written[1]])
    with tifffile.TiffFile(io.BytesIO(data)) as other, Image.open(io.BytesIO(data)) as image:
        assert len(other.pages) == image.n_frames == 4
        for number in range(4):
            with tifffile.TiffFile(io.BytesIO(written[number % 2])) as alone:
                assert np.array_equal(other.pages[number].asarray(), alone.pages[0].asarray())
        image.seek(2)
        assert image.getexif().get_ifd(34665)[33434] == pytest.approx(1 / 125)
        assert image.getexif().get_ifd(34853)[1] == "N"
        assert image.tag_v2[270] == "what is on it"


def test_by_default_the_first_page_alone_is_colored_and_that_is_said(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "scan.tif"
    source.write_bytes(scan(*sheets()))
    assert run(source, tmp_path / "out.tif", model=model) == 0
    assert "first of 3 pictures; the others are not copied" in capsys.readouterr().err
    with tifffile.TiffFile(tmp_path / "out.tif") as written:
        assert [page.shape for page in written.pages] == [(40, 50, 3)]
    assert run(source, "--in-place", model=model) == 3
    assert "in place 2 of its 3 frames would be lost" in capsys.readouterr().err
    assert source.read_bytes() == scan(*sheets())


def colored_as_expected(path: Path) -> None:
    with tifffile.TiffFile(path) as written:
        assert [page.shape for page in written.pages] == [(*sheet.shape, 3) for sheet in sheets()]
        for number, (page, sheet) in enumerate(zip(written.pages, sheets())):
            rgb = page.asarray()
            assert rgb.dtype == sheet.dtype
            assert np.abs(images.gray(rgb).astype(int) - sheet).max() <= (1 if sheet.dtype == np.uint8 else 257)
            assert (rgb[..., 0] != rgb[..., 2]).any()
            assert page.tags[285].value == f"page {number}"
            assert page.tags[315].value == "Somebody"
            assert page.tags[282].value[0] / page.tags[282].value[1] == 300 + number


@pytest.mark.parametrize("settings", [{}, {"byteorder": ">"}])
def test_all_pages(
    settings: dict[str, object], tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in" / "scan.tif", tmp_path / "out"
    source.parent.mkdir()
    source.write_bytes(scan(*sheets(), **settings))
    (source.parent / "one.tif").write_bytes(scan(sheets()[0]))
    assert run(source.parent, out, "--pages", "all", "--json", model=model) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["notes"] for record in sorted(records, key=lambda record: record["input"])] == [[], ["all 3 pages"]]
    colored_as_expected(out / "scan.tif")
    assert run(source.parent, out, "--pages", "all", model=model) == 0
    assert "0 colored, 2 skipped (2 done before)" in capsys.readouterr().err
    assert run(source.parent, out, model=model) == 3  # not what is asked for now
    told = capsys.readouterr().err
    assert "pages all, now first" in told
    assert "1 done before" in told


def test_all_pages_in_place(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "scan.tif"
    source.write_bytes(scan(*sheets()))
    assert run(source, "--in-place", "--pages", "all", model=model) == 0, capsys.readouterr().err
    colored_as_expected(source)
    before = source.read_bytes()
    capsys.readouterr()
    assert run(source, "--in-place", "--pages", "all", model=model) == 0
    assert "0 colored, 1 skipped" in capsys.readouterr().err
    assert source.read_bytes() == before


def test_what_pages_cannot_be_is_named(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "scan.tif"
    source.write_bytes(scan(*sheets()))
    assert run(source, tmp_path / "out.png", "--pages", "all", model=model) == 3
    assert "its 3 pages cannot be written as PNG" in capsys.readouterr().err
    assert run(tmp_path, tmp_path / "out", "--pages", "all", "--temporal", model=model) == 2
    source.write_bytes(scan(*sheets()) + b"something behind it")
    assert run(source, "--in-place", "--pages", "all", model=model) == 3
    assert "behind" in capsys.readouterr().err
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(sheets()[0], photometric="minisblack", metadata=None)
        writer.write(sheets()[0][::2, ::2].copy(), photometric="minisblack", subfiletype=1, metadata=None)
        writer.write(sheets()[1], photometric="minisblack", metadata=None)
    source.write_bytes(file.getvalue())
    assert run(source, "--in-place", "--pages", "all", model=model) == 3
    assert "in place 1 of its 3 frames would be lost" in capsys.readouterr().err


def test_a_broken_page_fails_the_file_and_a_colored_one_too(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "scan.tif"
    whole = scan(*sheets())
    with tifffile.TiffFile(io.BytesIO(whole)) as file:
        where = file.pages[1].tags[273]
    broken = bytearray(whole)
    broken[where.valueoffset : where.valueoffset + 4] = (10**9).to_bytes(4, "little")
    source.write_bytes(bytes(broken))
    assert run(source, tmp_path / "out.tif", "--pages", "all", model=model) == 3
    assert not (tmp_path / "out.tif").exists()
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(sheets()[0], photometric="minisblack", metadata=None)
        writer.write(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8), photometric="rgb", metadata=None)
    source.write_bytes(file.getvalue())
    capsys.readouterr()
    assert run(source, "--in-place", "--pages", "all", model=model) == 3
    assert "1 of its 2 pages: in color" in capsys.readouterr().err
