"""Photographs by a list, and the shards of a folder or list."""

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from recolor_fast.photographs import lists, walk
from tests.commands import ROOT, run, verb
from tests.photographs import write_jpegs


def told(capsys) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


# --- a list --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("blocks", "expected"),
    [
        ([b"a.jpg\nb c.jpg\r\n\n  d.jpg"], ["a.jpg", "b c.jpg", "  d.jpg"]),
        ([b"a\nb.jpg\0c\r\0", b"d\0"], ["a\nb.jpg", "c\r", "d"]),
        ([b"a.j", b"pg\nb", b".jpg\n"], ["a.jpg", "b.jpg"]),
        ([b"\xef\xbb\xbfa.jpg\n"], ["a.jpg"]),
        ([b"\xef\xbb\xbf"], []),
        ([b"caf\xe9.jpg\n"], ["caf\udce9.jpg"]),
        ([], []),
    ],
)
def test_the_paths_of_a_list(blocks, expected):
    assert list(lists.paths(blocks)) == expected


def test_what_has_no_end_of_line_is_no_list():
    with pytest.raises(ValueError, match="files x: 65,536 bytes without an end of line: expected a list of paths"):
        list(lists.paths(itertools.repeat(b"\xff" * 999), "x"))


TRACED = """
import itertools, sys, threading, tracemalloc
from recolor_fast.photographs import lists
tracemalloc.start()
with open(sys.argv[1], "rb") as file:
    print(sum(1 for _ in lists.paths(iter(lambda: file.read(lists.BLOCK), b""))))
print(sum(1 for _ in itertools.islice(lists.find(sys.argv[1], "out", threading.Event()), 5_000)))
print(tracemalloc.get_traced_memory()[1])
"""


def test_a_long_list_takes_little_memory(tmp_path):
    """In a process of its own: threads of other tests may be at work in this one."""
    name = tmp_path / "list"
    with open(name, "w") as file:
        file.writelines(f"folder {number // 1000}/a photograph {number}.jpg\n" for number in range(100_000))
    words = [sys.executable, "-c", TRACED, str(name)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    count, found, peak = map(int, done.stdout.split())
    assert (count, found) == (100_000, 5_000)
    assert peak < 2 * 2**20  # as a list of strings it has 8 MiB


PEAK = """
import sys
from recolor_fast import colorize
from recolor_fast.machine import memory
code = colorize.main(sys.argv[1:])
print(memory.peak(), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
def test_a_hundred_thousand_photographs_take_little_more_memory_than_a_thousand(tmp_path, model):
    photo = tmp_path / "one.jpg"
    Image.linear_gradient("L").resize((16, 16)).save(photo)
    peaks = {}
    for count in (1_000, 100_000):
        names = [tmp_path / "in" / str(number // 1000) / f"{number}.jpg" for number in range(count)]
        for name in names:
            name.parent.mkdir(parents=True, exist_ok=True)
            if not name.exists():
                shutil.copyfile(photo, name)
        (tmp_path / "list").write_text("".join(f"{name}\n" for name in names))
        out = tmp_path / f"out{count}"
        words = ["--files", tmp_path / "list", out, "--model", model, "--provider", "cpu"]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *map(str, words)], capture_output=True, text=True, cwd=ROOT, timeout=3600
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert sum(1 for _ in out.rglob("*.jpg")) == count
        peaks[count] = float(done.stderr.split()[-1])
    assert peaks[100_000] - peaks[1_000] < 100, peaks  # MiB


def test_a_list_is_mirrored_below_out(photos, model, tmp_path, capsys):
    away = write_jpegs(tmp_path.parent / f"{tmp_path.name} away", 1)[0]
    lines = ["in/sub/000.jpg", "./in//sub/002.jpg", str(away), "in/gone.jpg", "in/sub", "../x/y.jpg", "out/in/z.jpg"]
    Path("list").write_text("\n".join(lines))
    assert run("--files", "list", "out", "--json", "--color", "recolor", model=model) == 3
    made = sorted(str(path.relative_to("out")) for path in Path("out").rglob("*.jpg"))
    assert made == sorted(["in/sub/000.jpg", "in/sub/002.jpg", str(away).lstrip("/")])
    records = {one["input"]: one["reason"] for one in told(capsys)}
    assert records == {
        "in/sub/000.jpg": "",
        "in/sub/002.jpg": "",
        str(away): "",
        "in/gone.jpg": "No such file or directory",
        "in/sub": "a folder: a list names files",
        "../x/y.jpg": "its path leads out of OUT: give one without .., or an absolute one",
        "out/in/z.jpg": "it lies in the output out/: give another output",
    }
    assert run("in", "whole", "--color", "recolor", model=model) == 0
    assert Path("out/in/sub/000.jpg").read_bytes() == Path("whole/sub/000.jpg").read_bytes()
    Path("list").write_text("in/sub/000.jpg\nin/sub/001.jpg\n")
    capsys.readouterr()
    assert run("--files", "list", "out", "--json", "--color", "recolor", model=model) == 0
    assert {one["input"]: one["status"] for one in told(capsys)} == {
        "in/sub/000.jpg": "skipped",
        "in/sub/001.jpg": "ok",
    }


def test_a_list_on_stdin_and_in_place(photos, model, tmp_path):
    paths = [f"{tmp_path}/in/sub/000.jpg", f"{tmp_path}/in/sub/001.jpg"]
    words = ("--files", "-", tmp_path / "out", "--color", "recolor")
    done = verb(*words, model=model, data="\0".join(paths).encode())
    assert done.returncode == 0, done.stderr
    assert len(list(Path("out").rglob("*.jpg"))) == 2


def test_a_list_in_place(photos, model, capsys):
    Path("list").write_text("in/sub/000.jpg\n")
    assert run("--files", "list", "--in-place", "--json", model=model) == 0
    assert [one["output"] for one in told(capsys)] == ["in/sub/000.jpg"]


def test_two_lines_with_one_output(photos, model, tmp_path, capsys):
    Path("list").write_text(f"in/sub/000.jpg\n{tmp_path}/in/sub/000.jpg\n")
    link = Path("out", str(tmp_path).lstrip("/"))
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "out")  # so that both lines go to one place
    assert run("--files", "list", "out", "--json", "--color", "recolor", model=model) == 0
    assert sorted(one["status"] for one in told(capsys)) == ["ok", "skipped"]


def test_of_many_failures_the_first_are_named(photos, model, capsys):
    Path("list").write_text("".join(f"gone {number}.jpg\n" for number in range(1010)))
    assert run("--files", "list", "out", model=model) == 3
    told = capsys.readouterr().err
    assert "0 colored, 0 skipped, 1010 failed" in told
    assert told.count("gone ") == 1000
    assert "and 10 more, which --json names" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--files list", "files list with no path: expected OUT alone"),
        ("--files list in out", "files list with paths 'in out': expected OUT alone"),
        ("--files list -", "paths '-' with files list"),
        ("--files list list", "output list is a file and files list a list: give a folder"),
        ("--files gone out", "files gone: it is not there; give a list of paths, one a line"),
        ("--files in out", "files in: it is a folder; give a list"),
        ("--files list out --in-place", "in_place with files list and paths 'out'"),
        ("--files list out --watch", "watch with files list: a list has an end"),
        ("--files list out --temporal", "temporal with files list: frames have the order of their folder"),
        ("--files list out --include *.jpg", "include with files list: the list says which"),
        ("in out --shard 2/2", "shard 2/2: expected I/N with I from 0 to N-1"),
        ("in out --shard 1", "shard 1: expected I/N"),
        ("in out --shard 0/0", "shard 0/0: expected I/N"),
        ("in out --shard=-1/2", "shard -1/2: expected I/N"),
        ("in out --shard 0/2 --watch", "watch with shard 0/2: a shard has an end"),
        ("in out --shard 0/2 --temporal", "temporal with shard 0/2: a film would be torn apart"),
        ("- out.jpg --shard 0/2", "- with shard 0/2: one image has no parts"),
    ],
)
def test_what_does_not_go_together(words, said, photos, model, capsys):
    Path("list").write_text("in/sub/000.jpg\n")
    assert run(*words.split(), model=model) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


# --- shards --------------------------------------------------------------------------------------------------------


def test_shards_are_disjoint_whole_and_balanced():
    names = [f"{number // 100}/photograph {number}.jpg" for number in range(4000)]
    parts = [{name for name in names if lists.Shard(index, 7).has(name)} for index in range(7)]
    assert sum(map(len, parts)) == 4000
    assert set().union(*parts) == set(names)
    assert all(450 < len(part) < 700 for part in parts)  # 571 +- 22


def test_a_shard_stays_the_same():
    assert [name for name in "abcdefgh" if lists.Shard(0, 2).has(name)] == list("gh")


@pytest.mark.parametrize("by_list", [False, True])
def test_shards_into_one_out_are_the_whole(by_list, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_jpegs(tmp_path / "in" / "sub", 12, height=24, width=20)
    Path("in/.hidden").touch()
    Path("list").write_text("".join(f"in/sub/{number:03d}.jpg\n" for number in range(12)))
    words = ["--files", "list", "out"] if by_list else ["in", "out"]
    inputs = []
    for index in range(3):
        assert run(*words, "--json", "--color", "recolor", "--shard", f"{index}/3", model=model) == 0
        inputs.append({one["input"] for one in told(capsys)})
    assert sum(map(len, inputs)) == (12 if by_list else 13)
    assert len(set().union(*inputs)) == (12 if by_list else 13)
    assert len(list(Path("out").rglob("*.jpg"))) == 12
    assert not any("done before" in one for one in inputs)


def test_shards_in_place_go_by_the_path_below_in(model, tmp_path, monkeypatch):
    write_jpegs(tmp_path / "in", 5)
    monkeypatch.chdir(tmp_path)
    away = {lists.below(one, (str(tmp_path / "in"),), None) for one in walk.find([str(tmp_path / "in")], None)}
    here = {lists.below(one, ("in",), None) for one in walk.find(["in"], None)}
    there = {lists.below(one, ("in",), "out") for one in walk.find(["in"], "out")}
    assert away == here == there == {f"{number:03d}.jpg" for number in range(5)}


def test_a_shard_without_photographs_says_so(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_jpegs(tmp_path / "in", 1)
    assert run("in", "out", "--color", "recolor", "--shard", "0/2", model=model) == 0
    assert "no image files in in, shard 0/2" in capsys.readouterr().err
    assert run("in", "out", "--color", "recolor", "--shard", "1/2", model=model) == 0
    assert "1 colored, 0 skipped, 0 failed" in capsys.readouterr().err
