"""Which files, to where, and what is done: paths without a model."""

import json
import os
import random
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recolor_fast.coloring import folder, outputs
from recolor_fast.coloring.folder import DONE, NO_IMAGE, Plan
from recolor_fast.photographs import images, walk
from recolor_fast.photographs.walk import Found


def picture(path: Path, size: tuple[int, int] = (9, 7), **settings: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, 90).save(path, **settings)
    return path


def judged(source: Path, out: Path, plan: Plan = Plan(), key=str) -> dict[str, folder.Job]:  # noqa: B008
    output = None if plan.in_place else str(out)
    found = list(walk.find([str(source)], output))
    jobs = folder.jobs(found, plan, walk.identities(found), key)
    return {str(job.source.relative_to(source)): job for job in jobs}


def targets(inputs: list[Path], output: str) -> list[str]:
    return [str(found.target) for found in walk.find([str(path) for path in inputs], output)]


def test_targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.jpg", "in/sub/b.jpg", "two/in/c.jpg", "d.jpg"):
        picture(Path(name))
    one, two, file = Path("in"), Path("two/in"), Path("d.jpg")
    assert targets([one], "out") == ["out/a.jpg", "out/sub/b.jpg"]
    assert targets([file], "out") == ["out"]
    assert targets([file], "out/") == ["out/d.jpg"]
    assert targets([file], "two") == ["two/d.jpg"]
    assert targets([one, two, file], "out") == ["out/in/a.jpg", "out/in/sub/b.jpg", "out/in/c.jpg", "out/d.jpg"]
    monkeypatch.chdir("two/in")
    assert targets([Path("."), Path("../../in/a.jpg")], "out") == ["out/in/c.jpg", "out/a.jpg"]


def test_files_come_in_natural_order(tmp_path: Path) -> None:
    names = [f"frame {number}.png" for number in range(1, 13)] + ["x009.png", "x10.png", "x²³.png"]
    for name in random.Random(0).sample(names, len(names)):
        (tmp_path / name).touch()
    assert [found.source.name for found in walk.find([str(tmp_path)], "out")] == names


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_what_is_no_regular_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in"
    picture(source / "a.png")
    (source / "loop").symlink_to(source)
    (source / "null.png").symlink_to(os.devnull)
    (source / "dangling.png").symlink_to(source / "gone.png")
    (source / "linked.png").symlink_to(source / "a.png")
    os.mkfifo(source / "pipe.png")
    monkeypatch.chdir(source)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        jobs = judged(source, source / "out")
    assert list(jobs) == ["a.png", "dangling.png", "linked.png", "loop"]
    assert jobs["loop"].verdict.status == "skipped"
    assert str(jobs["loop"].verdict) == walk.LINK
    assert jobs["dangling.png"].verdict.status == "failed"
    assert jobs["linked.png"].verdict is None


def test_the_output_inside_an_input_is_not_an_input(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "out" / "a.png")
    (tmp_path / "also").symlink_to(tmp_path / "out")
    for output in ("out", "also", "sub/../out"):
        assert targets([tmp_path], str(tmp_path / output)) == [str(tmp_path / output / "a.png")]


def test_verdicts_by_the_header(tmp_path: Path) -> None:
    source = tmp_path / "in"
    exif = Image.Exif()
    exif[274] = 6
    picture(source / "turned.jpg", exif=exif)
    picture(source / "turned.tif", tiffinfo={274: 6})
    picture(source / "film.gif")
    (source / "notes.txt").write_text("text")
    (source / "page.png").write_text("text")
    shutil.copy(source / "turned.tif", source / "noext")
    jobs = judged(source, tmp_path / "out")
    assert jobs["turned.jpg"][2:8] == ("JPEG", 7, 9, (source / "turned.jpg").stat().st_size, None, False)
    assert jobs["turned.tif"][2:5] == ("TIFF", 7, 9)
    assert jobs["noext"][1:3] == (tmp_path / "out" / "noext", "TIFF")
    assert jobs["film.gif"][1:3] == (tmp_path / "out" / "film.gif.png", "PNG")
    assert (jobs["notes.txt"].target, jobs["notes.txt"].verdict.status, str(jobs["notes.txt"].verdict)) == (
        None,
        "skipped",
        NO_IMAGE,
    )
    assert jobs["page.png"][1:8] == (tmp_path / "out" / "page.png", "", 0, 0, 4, None, False)  # reading it will tell


def test_case_counts_where_the_file_system_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.png", "A.PNG", "\u00e4.png", "a\u0308.png"):
        (source / name).parent.mkdir(exist_ok=True)
        picture(tmp_path / "x.png").rename(source / name)
    if len(list(source.iterdir())) < 4:
        pytest.skip("this file system takes these names for one")
    assert folder.ignores_case(str(out)) is False
    assert not list(tmp_path.glob(".*"))
    assert all(job.verdict is None for job in judged(source, out).values())
    monkeypatch.setattr(folder, "ignores_case", lambda output: True)
    jobs = judged(source, out, key=folder.keys(str(out)))
    refused = {name: str(job.verdict) for name, job in jobs.items() if job.verdict}
    assert len(refused) == 2
    assert all("is also that of" in reason for reason in refused.values())


def test_outputs_that_exist(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for suffix in ("jpg", "png", "tif", "webp"):
        name = f"a.{suffix}"
        picture(source / name)
        job = judged(source, out)[name]
        assert outputs.done(job, Plan()) is None
        data = picture(out / name).read_bytes()
        assert str(outputs.done(job, Plan())) == DONE
        assert outputs.done(job, Plan(overwrite=True)) is None
        step = max(1, len(data) // 40)
        for length in range(0, len(data) - 24, step):  # without a PNG's last chunks all its pixels are there
            (out / name).write_bytes(data[:length])
            verdict = outputs.done(job, Plan())
            assert verdict.status == "failed", length
            assert "--overwrite" in str(verdict)
        picture(out / name, (9, 8))
        assert "9 x 8 pixels, expected 9 x 7" in str(outputs.done(job, Plan()))
        (out / name).unlink()
        (out / name).mkdir()
        assert "not a regular file" in str(outputs.done(job, Plan()))
        (out / name).rmdir()
        (out / name).symlink_to(out / "gone")
        assert outputs.done(job, Plan()).status == "failed"
        (out / name).unlink()
        (source / name).unlink()


def test_in_place(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.gif")
    (tmp_path / "c.png").symlink_to(tmp_path / "a.png")
    jobs = judged(tmp_path, tmp_path, Plan(in_place=True))
    assert jobs["a.png"][1:3] == (tmp_path / "a.png", "PNG")
    assert outputs.done(jobs["a.png"], Plan(in_place=True)) is None
    assert jobs["b.gif"].verdict.status == "failed"
    assert jobs["c.png"].verdict.status == "skipped"


def test_replayed_are_the_done_frames_before_one_that_is_missing(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for number in range(6):
        picture(source / f"{number}.png")
        picture(source / "whole" / f"{number}.png")
        picture(out / "whole" / f"{number}.png")
    for number in (0, 2, 5):
        picture(out / f"{number}.png")
    jobs = judged(source, out, Plan(temporal=True))
    assert [name for name, job in jobs.items() if job.replay] == ["0.png", "2.png"]
    assert not any(job.replay for job in judged(source, out, Plan(temporal=True, overwrite=True)).values())


def test_watched_files_come_once_when_they_rest_and_again_when_they_change(tmp_path: Path) -> None:
    enough = threading.Event()
    looks: list[set[str]] = []

    def look() -> Iterator[Found]:
        now = len(looks)
        looks.append(set())
        if now < 3:  # grows in each of the first three looks
            (tmp_path / "slow").write_text("x" * now)
        if now == 6:
            (tmp_path / "early").write_text("changed")
        if now == 9:
            enough.set()
        return iter(list(walk.find([str(tmp_path)], "out")))

    (tmp_path / "early").touch()
    for found in walk.watch(look, enough, 0.001):
        looks[-1].add(found.source.name)
    assert looks == [set(), {"early"}, set(), {"slow"}, set(), set(), set(), {"early"}, set(), set()]


def test_records_of_any_name_round_trip() -> None:
    for name in (b"\xff\xfe.jpg", b'quo"te\n.jpg', "ünï.jpg".encode(), b"\xed\xb3\xbf"):
        line = folder.to_json(folder.Record(os.fsdecode(name), None, "ok", notes=("a", "b")))
        assert line.isascii()
        assert "\n" not in line
        assert os.fsencode(json.loads(line)["input"]) == name


def test_names_too_long_or_not_unicode(tmp_path: Path) -> None:
    for name in (b"n\xe9.png", b"a" * 251 + b".png", b"b" * 247 + b".png", b"c" * 251 + b".tif"):
        picture(tmp_path / "in" / "x.png").rename(tmp_path / "in" / os.fsdecode(name))
    picture(tmp_path / "x.tif").rename(tmp_path / "in" / ("c" * 251 + ".tif"))
    jobs = judged(tmp_path / "in", tmp_path / "out", Plan(format="TIFF"))
    names = {os.fsencode(job.target.name): str(job.verdict or "") for job in jobs.values()}
    long = names.pop(b"a" * 251 + b".png.tif")
    assert long.endswith("aaaa.png.tif would be 259 bytes, expected 255 at most: rename it")
    assert names == {b"n\xe9.png.tif": "", b"b" * 247 + b".png.tif": "", b"c" * 251 + b".tif": ""}


def test_frames_are_counted(tmp_path: Path) -> None:
    three = [Image.fromarray(np.full((8, 9), level, np.uint8)) for level in (1, 100, 200)]
    for suffix in ("gif", "png", "webp", "tif"):
        three[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=three[1:])
        assert images.frames((tmp_path / f"a.{suffix}").read_bytes()) == 3
    assert images.frames(picture(tmp_path / "a.jpg").read_bytes()) == 1
    assert images.frames(b"nothing") == 1
