"""What one run has begun another leaves to it; a lock ends with its process."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from recolor_fast.photographs import claims
from recolor_fast.photographs.claims import Claims, shared

OTHER = """
import sys, threading
from pathlib import Path
from recolor_fast.photographs.claims import Claims
mine = Claims(Path(sys.argv[1]), threading.Event(), sys.argv[2] == "following")
print(*(mine.take(name) for name in sys.argv[3:]), flush=True)
for line in sys.stdin:
    mine.release(line.strip())
    print("released", flush=True)
mine.close()
"""


def other(folder: Path, *names: str, following: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OTHER, str(folder), "following" if following else "", *names]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_what_another_process_has_begun_is_free_when_it_is_done_or_dies(tmp_path: Path) -> None:
    folder, enough = tmp_path / "deep" / "out", threading.Event()
    mine = Claims(folder, enough)
    assert mine.take("a\udcff\n.jpg", 2)
    with other(folder, "a\udcff\n.jpg", "b", "c") as process:
        assert process.stdout.readline().split() == ["False", "True", "True"]
        assert not mine.take("b")
        assert not mine.take("c")
        process.stdin.write("b\n")
        process.stdin.flush()
        assert process.stdout.readline() == "released\n"
        assert mine.take("b")
        assert not mine.take("c")
        mine.close()
        assert (folder / claims.FILE).exists()  # the other one still needs it
        process.kill()
    again = Claims(folder, enough)
    assert again.take("c")
    again.close()
    assert not (folder / claims.FILE).exists()


def test_of_two_that_end_at_the_same_time_one_removes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, ended = Claims(tmp_path, threading.Event()), []
    assert mine.take("a")
    with other(tmp_path, "b") as process:
        assert process.stdout.readline().split() == ["True"]
        tried = mine._try

        def meanwhile(how: int, length: int = 0, at: int = 0) -> bool:
            had = tried(how, length, at)
            if how == claims._LOCK and not length:  # all of it, which the other one is at work on
                process.stdin.close()
                ended.append((had, process.wait()))
            return had

        monkeypatch.setattr(mine, "_try", meanwhile)
        mine.close()
    assert ended == [(False, 0)]
    assert not list(tmp_path.iterdir())


def test_who_joins_a_run_counts_from_its_begin_and_who_finds_what_a_killed_one_left_from_now(tmp_path: Path) -> None:
    with other(tmp_path, "a") as process:
        process.stdout.readline()
        os.utime(tmp_path / claims.FILE, (1e9, 1e9))
        joining = Claims(tmp_path, threading.Event())
        assert joining.take("b")
        assert joining.since == 10**18
        process.kill()
    joining.close()
    (tmp_path / claims.FILE).touch()
    os.utime(tmp_path / claims.FILE, (1e9, 1e9))
    alone = Claims(tmp_path, threading.Event())
    assert alone.take("b")
    assert alone.since > 10**18
    alone.close()


@pytest.mark.parametrize("following", [False, True])
def test_a_run_between_two_pictures_is_at_work_but_one_that_waits_for_more_is_not(following, tmp_path: Path) -> None:
    """Or else a second run would take what the first one made for old, and make it again."""
    with other(tmp_path, "a", following=following) as process:
        process.stdout.readline()
        process.stdin.write("a\n")
        process.stdin.flush()
        assert process.stdout.readline() == "released\n"
        os.utime(tmp_path / claims.FILE, (1e9, 1e9))
        joining = Claims(tmp_path, threading.Event())
        assert joining.take("a")
        assert (joining.since == 10**18) is not following
        process.stdin.close()
    joining.close()
    assert not (tmp_path / claims.FILE).exists()


def test_work_of_others_comes_last_when_they_are_done(tmp_path: Path) -> None:
    mine = Claims(tmp_path, threading.Event())
    with other(tmp_path, "b") as process:
        process.stdout.readline()
        work = shared([("a", 1, 0, "A"), ("b", 1, 1, "B"), ("", 0, 2, "no work"), ("c", 1, 3, "C")], mine)
        assert [next(work) for _ in range(3)] == ["A", "no work", "C"]
        process.stdin.write("b\n")
        process.stdin.flush()
        assert list(work) == ["B"]
        process.stdin.close()


@pytest.mark.parametrize("folder", ["out", "./out/", "out/..", "."])
def test_a_path_is_called_as_it_lies_below_the_folder(folder: str) -> None:
    begun = Claims(Path(folder), threading.Event())
    for path in (Path(folder, "a", "b.jpg"), Path(folder, "a..b.jpg"), Path(folder, "a", "..", "b.jpg"), Path("c.jpg")):
        assert begun.name(path) == os.path.relpath(path, folder)
    assert Claims(None, threading.Event()).name(Path("a/../b.jpg")) == "b.jpg"


def test_waiting_ends_when_no_more_is_wanted(tmp_path: Path) -> None:
    mine = Claims(tmp_path, threading.Event())
    with other(tmp_path, "b") as process:
        process.stdout.readline()
        work = shared([("b", 1, 0, "B")], mine)
        mine.enough.set()
        assert list(work) == []
        process.stdin.close()


def test_work_that_comes_without_end_is_asked_for_again(tmp_path: Path) -> None:
    mine = Claims(tmp_path, threading.Event(), following=True)
    with other(tmp_path, "b") as process:
        process.stdout.readline()
        assert list(shared([("a", 1, 0, "A"), ("b", 1, 1, "B")], mine)) == ["A"]
        assert mine.missed == {1}
        process.stdin.close()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_locks_everything_is_free(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", none)
    mine = Claims(tmp_path / "out", threading.Event())
    assert mine.take("a")
    assert mine.take("a")
    mine.close()


def test_where_no_file_can_be_made_everything_is_free(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mine = Claims(tmp_path / "file" / "out", threading.Event())
    assert mine.take("a")
    mine.release("a")
    mine.close()
    assert Claims(None, threading.Event()).take("a")
