import io
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast.data import checked, index
from recolor_fast.photographs import encoders, images, jpeg_headers
from tests.photographs import pixels, shared, write_jpegs


def jpeg(number: int = 0, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(number)).save(file, "JPEG", **settings)
    return file.getvalue()


def test_broken_files_are_listed_not_fatal(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(index, "PART", 3)  # files at a time: the order is that of all
    good = write_jpegs(tmp_path, 3)
    broken = {
        "a_truncated.jpg": (jpeg()[:-200], "truncated"),
        "b_empty.jpg": (b"", "empty"),
        "c_text.jpg": (b"no image at all", "not an image"),
        "d_truncated.png": (encoders.encode(pixels(0), None, "PNG", 90)[:-300], "truncated"),
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
    assert reasons[tmp_path] == "not a regular file"
    assert capfd.readouterr() == ("", "")  # no progress bar where there is no terminal


def test_the_format_is_told_from_the_content(tmp_path):
    (tmp_path / "jpeg.png").write_bytes(jpeg())
    (tmp_path / "png.jpg").write_bytes(encoders.encode(pixels(1), None, "PNG", 90))
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
    for number, data in enumerate([jpeg(), jpeg(progressive=True), encoders.encode(pixels(0), None, "PNG", 90)]):
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
    assert jpeg_headers.read(jpeg())[:3] == (64, 48, True)
    data = jpeg(progressive=True, subsampling=0)
    header = jpeg_headers.read(data)
    assert header[:3] == (64, 48, True)
    assert data[header.scan : header.scan + 2] == b"\xff\xda"
    cmyk = io.BytesIO()
    Image.fromarray(pixels(0)).convert("CMYK").save(cmyk, "JPEG")
    assert jpeg_headers.read(cmyk.getvalue())[:3] == (64, 48, False)
    assert jpeg_headers.read(jpeg(keep_rgb=True))[:3] == (64, 48, False)
    gray = io.BytesIO()
    Image.fromarray(pixels(0)).convert("L").save(gray, "JPEG")
    assert jpeg_headers.read(gray.getvalue()).plain


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff\x00\x00\x02"]
)
def test_no_jpeg_header(data):
    assert jpeg_headers.read(data) is None


def test_a_jpeg_header_cut_anywhere_never_raises():
    data = jpeg()
    scan = jpeg_headers.read(data).scan
    found = [jpeg_headers.read(data[:length]) for length in range(scan + 20)]
    assert not any(found[:scan])
    assert found[-1].scan == scan


@pytest.mark.parametrize(("check", "missed"), [("header", ["bitrot.jpg"]), ("full", [])])
def test_odd_images_are_usable_exactly_where_they_can_be_read(check, missed):
    """But for bit rot in the pixels of a JPEG, which only the full check looks for."""
    paths = sorted(path for path in shared("odd-images", "made").iterdir() if path.is_file())
    good, reasons = index.usable(paths, check)
    unlike = []
    for path in paths:
        try:
            images.read_rgb(path.read_bytes())
            readable = True
        except images.UnreadableImage:
            readable = False
        if readable != (path in good):
            unlike.append(path.name)
    assert unlike == missed
    assert len(good) > 30
    assert len(reasons) > 10


# --- the full check ------------------------------------------------------------------------------------------------


def found_in(data: bytes, changed: list[bytes]) -> Counter:
    """How many of the changed JPEGs each check finds, and that both find nothing in `data`."""
    assert [caught(data, strict) for strict in (False, True)] == [False, False]
    return Counter(header=sum(caught(one, False) for one in changed), full=sum(caught(one, True) for one in changed))


def caught(data: bytes, strict: bool) -> bool:
    try:
        images.check(data, strict=strict)
    except images.UnreadableImage:
        return True
    return False


@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}])
def test_the_full_check_finds_rot_in_the_pixels_of_a_jpeg(settings):
    """Nearly all overwritten sectors; of single bits flipped only a part: see images.check."""
    photograph = io.BytesIO()
    Image.fromarray(pixels(1, 480, 640)).save(photograph, "JPEG", **settings)
    data = photograph.getvalue()
    places = np.random.default_rng(0)
    first = jpeg_headers.read(data).scan + 14
    sectors, bits = [], []
    for _ in range(40):
        changed = bytearray(data)
        at = int(places.integers(first, len(data) - 2 - 512))
        changed[at : at + 512] = places.bytes(512)
        sectors.append(bytes(changed))
        changed = bytearray(data)
        changed[int(places.integers(first, len(data) - 2))] ^= 1 << int(places.integers(8))
        bits.append(bytes(changed))
    assert found_in(data, sectors)["full"] >= 37
    found = found_in(data, bits)
    assert found["header"] <= 1
    assert found["full"] >= 2


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_the_full_check_knows_every_kind_of_jpeg(mode):
    photograph = io.BytesIO()
    Image.fromarray(pixels(1, 480, 640)).convert(mode).save(photograph, "JPEG")
    data = photograph.getvalue()
    half = len(data) // 2
    assert found_in(data, [data[:half] + bytes(600) + data[half + 600 :]])["full"] == 1


def test_what_is_odd_outside_the_pixels_is_no_fault():
    data = jpeg()
    comment = b"\xff\xfe\x00\x04ab"
    for odd in (
        data + bytes(1000),
        data + data,
        data[:2] + comment + b"stray bytes" + comment + data[2:],
        data[:2] + b"\xff\xe2\x00\x12ICC_PROFILE\x00\x05\x01ab" + data[2:],
    ):
        assert not caught(odd, False)
        assert not caught(odd, True)


def test_a_check_that_there_is_not_is_named():
    with pytest.raises(ValueError, match="check 'half': expected one of header, full"):
        index.usable([], "half")


# --- what is kept of a check ---------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path, monkeypatch) -> Path:
    """The file that results are kept in, which is not there yet; files of this very second count as settled."""
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "SETTLED", -(10**18))
    monkeypatch.setattr(checked, "WAIT", 0.2)
    checked.warn_once.cache_clear()
    return tmp_path / "cache" / "index" / "checked.sqlite"


@pytest.fixture
def looked(monkeypatch) -> list[int]:
    """Grows by the length of each file that is checked."""
    lengths: list[int] = []
    whole = images.check

    def check(data: bytes, **settings) -> None:
        lengths.append(len(data))
        whole(data, **settings)

    monkeypatch.setattr(images, "check", check)
    return lengths


def rows(kept: Path) -> int:
    connection = sqlite3.connect(kept)
    try:
        return connection.execute("SELECT count(*) FROM checked").fetchone()[0]
    finally:
        connection.close()


def test_a_file_is_checked_once(tmp_path, kept, looked, monkeypatch):
    """Whatever its name, and wherever it is called from; what is broken too."""
    good = write_jpegs(tmp_path / "a", 2)
    odd = Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/\xff\xfe \n'.jpg"))
    odd.write_bytes(jpeg())
    broken = tmp_path / "a" / "broken.jpg"
    broken.write_bytes(jpeg()[:-200])
    first = index.usable([*good, odd, broken])
    assert len(looked) == 4
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert index.usable([*good, odd, broken]) == first
    assert first[0] == [*good, odd]
    monkeypatch.chdir(tmp_path / "a")
    assert index.usable([Path("001.jpg")]) == ([Path("001.jpg")], {})
    assert len(looked) == 4
    assert rows(kept) == 4


def test_a_file_that_changes_is_checked_again(tmp_path, kept, looked):
    """Also one that keeps its size and its time of writing."""
    (path,) = write_jpegs(tmp_path / "a", 1)
    index.usable([path])
    data, times = path.read_bytes(), (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    time.sleep(0.02)  # the clock of the file system has ticked
    path.write_bytes(bytes(100) + data[100:])
    os.utime(path, ns=times)
    with pytest.raises(ValueError, match="not an image"):
        index.usable([path])
    assert len(looked) == 2
    assert rows(kept) == 1


def test_a_file_that_changed_just_now_is_not_relied_on(tmp_path, kept, looked, monkeypatch):
    paths = write_jpegs(tmp_path / "a", 2)
    monkeypatch.setattr(checked, "SETTLED", 10**12)
    index.usable(paths)
    index.usable(paths)
    assert len(looked) == 4
    assert kept.stat().st_size == 0


def test_the_full_check_serves_the_other_where_it_finds_nothing(tmp_path, kept, looked):
    """A file that only the full check refuses is usable without it, whatever was found before."""
    good = write_jpegs(tmp_path / "a", 1, height=480, width=640)[0]
    rotten = tmp_path / "a" / "rotten.jpg"
    data = good.read_bytes()
    rotten.write_bytes(data[:9000] + bytes(600) + data[9600:])
    full, header = ([good], {rotten: "damaged: "}), ([good, rotten], {})
    found = index.usable([good, rotten], "full")
    assert found[0] == full[0]
    assert found[1][rotten].startswith(full[1][rotten])
    assert len(looked) == 2
    assert index.usable([good, rotten]) == header
    assert len(looked) == 3
    assert index.usable([good, rotten], "full") == found
    assert index.usable([good, rotten]) == header
    assert len(looked) == 3


def test_the_header_check_does_not_serve_the_full_one(tmp_path, kept, looked):
    paths = write_jpegs(tmp_path / "a", 2)
    index.usable(paths)
    index.usable(paths, "full")
    assert len(looked) == 4


def test_what_is_not_of_the_content_is_not_kept(tmp_path, kept, looked, monkeypatch):
    paths = write_jpegs(tmp_path / "a", 2)

    def read(path: Path) -> bytes:
        if path == paths[1]:
            raise PermissionError(13, "Permission denied", str(path))
        return path.read_bytes()

    with monkeypatch.context() as patch:
        patch.setattr(images, "read", read)
        assert index.usable([*paths, tmp_path / "missing"])[1] == {
            paths[1]: "Permission denied",
            tmp_path / "missing": "No such file or directory",
        }
    assert rows(kept) == 1
    assert index.usable(paths) == (paths, {})


def test_too_little_memory_says_nothing_of_a_file(tmp_path, kept, monkeypatch):
    paths = write_jpegs(tmp_path / "a", 2)

    def load(image: Image.Image) -> None:
        raise MemoryError

    png = tmp_path / "a" / "0.png"
    png.write_bytes(encoders.encode(pixels(0), None, "PNG", 90))
    with monkeypatch.context() as patch:
        patch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
        assert index.usable([*paths, png])[0] == paths
    assert rows(kept) == 2
    assert index.usable([*paths, png])[0] == [*paths, png]


def test_results_of_other_versions_and_of_long_ago_are_not_relied_on(tmp_path, kept, looked, monkeypatch):
    paths = write_jpegs(tmp_path / "a", 2)
    index.usable(paths[:1])
    monkeypatch.setattr(checked, "VERSION", "another")
    index.usable(paths[:1])
    assert len(looked) == 2
    today = checked.day()
    monkeypatch.setattr(checked, "day", lambda: today + checked.DAYS)
    index.usable(paths[:1])
    assert len(looked) == 2
    monkeypatch.setattr(checked, "day", lambda: today + checked.DAYS + 1)
    index.usable(paths[1:])
    assert len(looked) == 3
    assert rows(kept) == 1
    index.usable(paths[:1])
    assert len(looked) == 4


def foreign(kept: Path) -> None:
    connection = sqlite3.connect(kept)
    connection.execute("CREATE TABLE checked (something TEXT)")
    connection.close()


def locked(kept: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(kept)
    connection.execute("BEGIN EXCLUSIVE")
    return connection


def cut(kept: Path) -> None:
    data = kept.read_bytes()
    kept.write_bytes(data[: len(data) // 2] + bytes(50))


@pytest.mark.parametrize(
    "harm",
    [
        pytest.param(lambda kept: kept.write_bytes(b"no database at all" * 100), id="junk"),
        pytest.param(cut, id="cut"),
        pytest.param(lambda kept: [kept.unlink(), foreign(kept)], id="foreign"),
        pytest.param(lambda kept: [kept.unlink(), kept.mkdir()], id="a folder"),
        pytest.param(lambda kept: kept.parent.chmod(0o755), id="open to others"),
        pytest.param(locked, id="locked"),
    ],
)
def test_a_database_that_cannot_be_used_costs_a_warning(tmp_path, kept, looked, capfd, harm):
    paths = write_jpegs(tmp_path / "a", 3)
    assert index.usable(paths) == (paths, {})
    held = harm(kept)
    for _ in range(2):
        assert index.usable(paths) == (paths, {})
    if isinstance(held, sqlite3.Connection):
        held.close()
    assert len(looked) == 9
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(f"warning: {kept.parent} cannot be used (")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("error", [sqlite3.OperationalError("attempt to write a readonly database"), OSError("full")])
def test_what_cannot_be_written_costs_a_warning(tmp_path, kept, looked, capfd, monkeypatch, error):
    """What was kept before still serves."""
    paths = write_jpegs(tmp_path / "a", 2)
    index.usable(paths[:1])

    def refuse(*arguments) -> None:
        raise error

    monkeypatch.setattr(checked, "_keep", refuse)
    for _ in range(2):
        assert index.usable(paths) == (paths, {})
    assert len(looked) == 3
    assert capfd.readouterr().err.count("warning") == 1


def test_no_folder_for_the_cache_costs_a_warning(tmp_path, kept, capfd, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "file"))
    paths = write_jpegs(tmp_path / "a", 2)
    assert index.usable(paths) == (paths, {})
    assert capfd.readouterr().err.count("warning") == 1


def test_several_processes_keep_what_they_find(tmp_path, kept):
    """They share a file from its very beginning on."""
    paths = write_jpegs(tmp_path / "a", 12)
    program = (
        "import sys; from pathlib import Path; from recolor_fast.data import checked, index; "
        "checked.SETTLED = -10**18; sys.stdin.read(1); index.usable(list(map(Path, sys.argv[1:])))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, paths[3 * number : 3 * number + 3])],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
        )
        for number in range(4)
    ]
    for process in processes:
        process.stdin.write(b"x")
        process.stdin.flush()
    assert [process.communicate(timeout=300)[1] for process in processes] == [b""] * 4
    assert rows(kept) == 12


# --- the thread map ------------------------------------------------------------------------------------------------


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
        pytest.raises(index.Unusable, match=r"^gone\.jpg: No such file or directory; repair or remove"),
        index.naming(Path("gone.jpg")),
    ):
        (tmp_path / "gone.jpg").read_bytes()


def read_text(path: Path) -> str:
    with index.naming(path):
        return path.read_text()


def test_the_next_readable_file_takes_the_place_of_each_that_is_not(tmp_path, capfd):
    """The same one each time, and the file itself once it is back."""
    paths = [tmp_path / str(number) for number in range(5)]
    for path in paths[1:4]:
        path.write_text(path.name)
    paths[3].unlink()
    read = index.reader(read_text, paths, strict=False)
    for _ in range(2):
        assert [read(position) for position in range(5)] == ["1", "1", "2", "1", "1"]
    assert capfd.readouterr().err.splitlines() == [
        f"warning: {paths[position]}: No such file or directory; {paths[1]} takes its place" for position in (0, 3, 4)
    ]
    paths[4].write_text("4")
    assert [read(position) for position in (3, 4, 3)] == ["1", "4", "4"]
    assert capfd.readouterr().err == ""
    with pytest.raises(index.Unusable, match="No such file"):
        index.reader(read_text, paths, strict=True)(0)
    for path in paths:
        path.unlink(missing_ok=True)
    with pytest.raises(ValueError, match=r"none of 5 photographs can be read any more: .*/2: No such file"):
        read(2)


def test_many_files_that_vanish_together_are_each_looked_for_once(tmp_path, capfd):
    """But when they are asked for themselves: a folder of a hundred thousand that is gone does not stop the run."""
    asked = Counter()

    def read(path: Path) -> str:
        asked[path] += 1
        return read_text(path)

    paths = [tmp_path / str(number) for number in range(50)]
    paths[-1].write_text("the last")
    one = index.reader(read, paths, strict=False)
    assert {one(position) for position in range(49)} == {"the last"}
    assert max(asked[path] for path in paths[:-1]) == 2
    assert capfd.readouterr().err.count("warning") == 49


def test_threads_that_meet_the_same_file_warn_once(tmp_path, capfd):
    paths = [tmp_path / "gone", tmp_path / "there"]
    paths[1].write_text("there")
    one = index.reader(read_text, paths, strict=False)
    assert set(index.in_order(one, [0] * 200, 16)) == {"there"}
    assert capfd.readouterr().err.count("warning") == 1
