import io
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast import images
from recolor_fast.data import index
from tests.photographs import pixels, shared, write_jpegs


def jpeg(number: int = 0, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(number)).save(file, "JPEG", **settings)
    return file.getvalue()


def test_broken_files_are_listed_not_fatal(tmp_path, capfd):
    good = write_jpegs(tmp_path, 3)
    broken = {
        "a_truncated.jpg": (jpeg()[:-200], "truncated"),
        "b_empty.jpg": (b"", "empty"),
        "c_text.jpg": (b"no image at all", "not an image"),
        "d_truncated.png": (images.encode(pixels(0), None, "PNG", 90)[:-300], "truncated"),
    }
    paths = [good[0]]
    for name, (data, _) in broken.items():
        (tmp_path / name).write_bytes(data)
        paths += [tmp_path / name]
    paths += [tmp_path / "missing.jpg", tmp_path, *good[:0:-1]]
    found, reasons = index.usable(paths)
    assert found == [good[0], good[2], good[1]]  # the given order
    assert list(reasons) == paths[1:-2]
    for name, (_, reason) in broken.items():
        assert reason in reasons[tmp_path / name]
    assert "No such file" in reasons[tmp_path / "missing.jpg"]
    assert "directory" in reasons[tmp_path]
    assert capfd.readouterr() == ("", "")  # no progress bar where there is no terminal


def test_the_format_is_told_from_the_content(tmp_path):
    (tmp_path / "jpeg.png").write_bytes(jpeg())
    (tmp_path / "png.jpg").write_bytes(images.encode(pixels(1), None, "PNG", 90))
    paths = sorted(tmp_path.iterdir())
    assert index.usable(paths) == (paths, {})


def test_nothing_usable_says_why(tmp_path):
    for number in range(5):
        (tmp_path / f"{number}.jpg").touch()
    with pytest.raises(ValueError, match=r"none of 5 files is a usable image: .*0\.jpg: the file is empty; .*2\.jpg"):
        index.usable(sorted(tmp_path.iterdir()))
    with pytest.raises(ValueError, match=r"none of 0 files .* no file was given"):
        index.usable([])


def test_a_plain_jpeg_is_not_decoded(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(images, "read_rgb", decoded.append)
    for number, data in enumerate([jpeg(), jpeg(progressive=True), images.encode(pixels(0), None, "PNG", 90)]):
        path = tmp_path / str(number)
        path.write_bytes(data)
        images.fault(path)
    assert [data[:4] for data in decoded] == [b"\x89PNG"]


def test_an_end_marker_in_a_thumbnail_is_not_the_end(tmp_path):
    thumbnail = jpeg(1)
    assert thumbnail.endswith(b"\xff\xd9")
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2) + thumbnail
    whole = jpeg()[:2] + segment + jpeg()[2:]
    path = tmp_path / "thumbnail.jpg"
    path.write_bytes(whole)
    assert images.fault(path) is None
    path.write_bytes(whole + bytes(100))  # cameras append what they like
    assert images.fault(path) is None
    path.write_bytes(whole[:-100])
    assert "truncated" in str(images.fault(path))


def test_a_huge_header_is_refused(tmp_path):
    data = bytearray(jpeg())
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    (tmp_path / "huge.jpg").write_bytes(data)
    assert "too many pixels" in str(images.fault(tmp_path / "huge.jpg"))


def test_jpeg_header():
    assert images.jpeg_header(jpeg())[:3] == (64, 48, True)
    data = jpeg(progressive=True, subsampling=0)
    header = images.jpeg_header(data)
    assert header[:3] == (64, 48, True)
    assert data[header.scan : header.scan + 2] == b"\xff\xda"
    cmyk = io.BytesIO()
    Image.fromarray(pixels(0)).convert("CMYK").save(cmyk, "JPEG")
    assert images.jpeg_header(cmyk.getvalue())[:3] == (64, 48, False)
    assert images.jpeg_header(jpeg(keep_rgb=True))[:3] == (64, 48, False)
    gray = io.BytesIO()
    Image.fromarray(pixels(0)).convert("L").save(gray, "JPEG")
    assert images.jpeg_header(gray.getvalue()).plain


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\x00\x00\x02"]
)
def test_no_jpeg_header(data):
    assert images.jpeg_header(data) is None


def test_a_jpeg_header_cut_anywhere_never_raises():
    data = jpeg()
    scan = images.jpeg_header(data).scan
    found = [images.jpeg_header(data[:length]) for length in range(scan + 20)]
    assert not any(found[:scan])
    assert found[-1].scan == scan


def test_odd_images_are_usable_exactly_where_they_can_be_read():
    """But for bit rot in the pixels of a JPEG, which is not looked for."""
    paths = sorted(path for path in shared("odd-images", "made").iterdir() if path.is_file())
    good, reasons = index.usable(paths)
    unlike = []
    for path in paths:
        try:
            images.read_rgb(path.read_bytes())
            readable = True
        except images.UnreadableImage:
            readable = False
        if readable != (path in good):
            unlike.append(path.name)
    assert unlike == ["bitrot.jpg"]
    assert len(good) > 30
    assert len(reasons) > 10


def data_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("recolor_fast-data")]


def test_in_order_keeps_the_order_of_endless_items_and_stays_bounded():
    begun = []

    def square(number: int) -> int:
        begun.append(number)
        return number**2

    results = index.in_order(square, count(), 5)
    assert [next(results) for _ in range(100)] == [number**2 for number in range(100)]
    assert len(begun) <= 100 + 4
    assert data_threads()
    results.close()
    assert not data_threads()


def test_in_order_raises_in_its_turn_and_closes():
    results = index.in_order(lambda number: 1 // number, [2, 1, 0, 1], 4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not data_threads()
    assert list(index.in_order(np.sqrt, [], 3)) == []


def test_naming(tmp_path):
    with (
        pytest.raises(ValueError, match=r"^gone\.jpg: No such file or directory; repair or remove"),
        index.naming(Path("gone.jpg")),
    ):
        (tmp_path / "gone.jpg").read_bytes()
