"""What a desk keeps: whole whenever its server is killed, within limits, for its visitor alone."""

import errno
import json
import os
import random
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from recolor_fast.artefact.hints import Hint
from recolor_fast.machine.errors import UserError
from recolor_fast.serve import desk, facts
from recolor_fast.serve.desk import LIMITS, Busy, Desks, Gone, Limits, NoRoom
from recolor_fast.serve.facts import Photograph

KEY, OTHER = "a" * 64, "b" * 64
ROOT = Path(__file__).parents[1]
ARRAYS = {"cbcr": np.arange(8, dtype=np.uint8).reshape(2, 2, 2)}


@pytest.fixture
def state(tmp_path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def desks(state):
    opened = Desks(state)
    yield opened
    opened.close()


def put(desks: Desks, data: bytes = b"photograph", name: str = "old.jpg", key: str = KEY) -> Photograph:
    arriving = desks.begin(key)
    try:
        arriving.write(data)
        return arriving.keep(name, "model")
    finally:
        arriving.close()


def opened_again(desks: Desks, state: Path, limits: Limits = LIMITS) -> Desks:
    desks.close()
    return Desks(state, limits)


def files_of(state: Path, key: str = KEY) -> set[str]:
    return {path.name for path in (state / "desks" / key).iterdir()}


def test_a_photograph_is_there_as_it_came_in_the_order_it_came(desks):
    ids = [put(desks, bytes([number]) * 9, f"{number}.jpg").id for number in (3, 1, 2)]
    assert [one.name for one in desks.photographs(KEY)] == ["3.jpg", "1.jpg", "2.jpg"]
    assert desks.original(KEY, ids[1]) == b"\x01" * 9
    assert desks.get(KEY, ids[2]) == desks.photographs(KEY)[2]
    assert (desks.get(KEY, ids[2]).status, desks.get(KEY, ids[2]).bytes) == ("waiting", 9)


def test_nobody_sees_another_ones_desk(desks):
    mine = put(desks)
    put(desks, b"theirs", key=OTHER)
    assert [one.id for one in desks.photographs(KEY)] == [mine.id]
    assert desks.photographs("c" * 64) == []
    for use in (desks.get, desks.original, desks.painted, desks.remove):
        with pytest.raises(Gone):
            use(OTHER, mine.id)
    with pytest.raises(Gone):
        desks.change(OTHER, mine.id, name="stolen")
    assert desks.original(KEY, mine.id) == b"photograph"


def test_a_restart_loses_nothing(desks, state):
    first = put(desks, name="Großmutter 祖母.jpg")
    second = put(desks)
    hints = (Hint(1.5, 2, "#c08040"), Hint(3, 4, "#102030", 5.0))
    desks.take()
    painted = desks.paint(KEY, first.id, ARRAYS, notes=("a note",), hints=hints, painter=("model", "0f"), size=2)
    changed = desks.change(KEY, first.id, look={"saturation": 1.5})
    assert changed == painted._replace(look={"saturation": 1.5})
    again = opened_again(desks, state)
    assert again.photographs(KEY) == [changed, second]
    assert again.original(KEY, first.id) == b"photograph"
    found, arrays = again.painted(KEY, first.id)
    assert found == changed
    np.testing.assert_array_equal(arrays["cbcr"], ARRAYS["cbcr"])
    again.close()


def test_work_is_taken_in_the_order_of_arrival_whosoever_it_is_and_after_a_restart_again(desks, state):
    order = [put(desks, key=key).id for key in (KEY, OTHER, KEY, OTHER)]
    assert [desks.take()[1].id for _ in range(2)] == order[:2]
    assert desks.get(KEY, order[0]).status == "working"
    desks.paint(KEY, order[0], ARRAYS)
    again = opened_again(desks, state)
    assert [again.take()[1].id for _ in range(3)] == order[1:]
    assert again.take() is None
    assert put(again).arrived > max(again.get(key, id).arrived for key, id in zip((KEY, OTHER) * 2, order))
    again.close()


def test_what_ends_the_server_each_time_is_not_tried_for_ever(desks, state):
    photograph = put(desks)
    for _ in range(facts.TRIES):
        assert desks.take()[1].id == photograph.id
        desks = opened_again(desks, state)
    assert desks.take() is None
    failed = desks.get(KEY, photograph.id)
    assert (failed.status, failed.reason) == (
        "failed",
        "the server ended 3 times while it worked on this photograph",
    )
    desks.close()


def test_each_painting_takes_the_place_of_the_one_before(desks, state):
    photograph = put(desks)
    with pytest.raises(Gone):
        desks.painted(KEY, photograph.id)
    for revision in (1, 2, 3):
        assert desks.paint(KEY, photograph.id, {"cbcr": np.full((2, 2, 2), revision, np.uint8)}).revision == revision
    assert desks.painted(KEY, photograph.id)[1]["cbcr"].tolist() == [[[3, 3], [3, 3]]] * 2
    id = photograph.id
    assert files_of(state) == {f"{id}.json", f"{id}.original", f"{id}.3.npz"}


def test_the_folder_is_for_this_user_alone(desks, state):
    photograph = put(desks)
    desks.paint(KEY, photograph.id, ARRAYS)
    before = os.umask(0)
    try:
        put(desks)
    finally:
        os.umask(before)
    for path in (state, *state.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_a_folder_that_others_may_use_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(UserError, match=r"open: .*open to other users; give a folder of your own, of mode 700, with"):
        Desks(tmp_path / "open")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="--state"):
        Desks(tmp_path / "file" / "below")


def test_two_servers_do_not_share_a_folder(desks, state):
    with pytest.raises(UserError, match="another server uses it; stop that one, or give this one a folder"):
        Desks(state)
    opened_again(desks, state).close()


def test_removed_is_removed_from_the_disk_too(desks, state):
    first, second = put(desks), put(desks)
    desks.paint(KEY, first.id, ARRAYS)
    desks.remove(KEY, first.id)
    assert files_of(state) == {f"{second.id}.json", f"{second.id}.original"}
    with pytest.raises(Gone):
        desks.remove(KEY, first.id)
    with pytest.raises(Gone):  # its work was under way
        desks.paint(KEY, first.id, ARRAYS)
    put(desks, key=OTHER)
    desks.clear(KEY)
    desks.clear(KEY)
    assert desks.photographs(KEY) == []
    assert [path.name for path in (state / "desks").iterdir()] == [OTHER]
    with pytest.raises(Gone):
        desks.paint(KEY, second.id, ARRAYS)


def test_everything_is_cleared_whatever_version_wrote_it(desks, state):
    with pytest.raises(UserError, match="another server uses it"):
        desk.clear(state)
    photograph = put(desks)
    put(desks, key=OTHER)
    desks.close()
    (state / "desks" / KEY / f"{photograph.id}.json").write_text('{"version": 9}')
    (state / "desks" / "notes.txt").write_text("not ours")
    assert desk.clear(state) == 2
    assert [path.name for path in (state / "desks").iterdir()] == ["notes.txt"]
    assert desk.clear(state) == 0
    Desks(state).close()


def test_what_arrives_while_the_desk_is_cleared_is_dropped(desks, state):
    put(desks)
    arriving = desks.begin(KEY)
    arriving.write(b"late")
    desks.clear(KEY)
    with pytest.raises(Gone):
        arriving.keep("late.jpg", "model")
    arriving.close()
    assert list((state / "desks").iterdir()) == []
    assert put(desks).status == "waiting"


def test_what_did_not_come_whole_leaves_nothing(desks, state):
    arriving = desks.begin(KEY)
    arriving.write(b"half")
    arriving.close()
    assert files_of(state) == set()
    assert desks.photographs(KEY) == []


def test_limits_of_number_and_size(state):
    desks = Desks(state, Limits(photographs=3, desk_bytes=100, desks=2, arriving=2))
    kept = [put(desks, b"x" * 40), put(desks, b"x" * 40)]
    with pytest.raises(NoRoom, match="remove some photographs"):
        put(desks, b"x" * 21)
    put(desks, b"x" * 20)
    with pytest.raises(NoRoom, match="a desk holds 3 photographs; remove some"):
        put(desks, b"")
    desks.remove(KEY, kept[0].id)
    first, second = desks.begin(KEY), desks.begin(OTHER)
    with pytest.raises(Busy):
        desks.begin(OTHER)
    with pytest.raises(NoRoom, match="a desk holds 3"):  # one that is coming counts
        second.close() or desks.begin(KEY)
    first.close()
    with pytest.raises(NoRoom, match="there are 2 desks"):
        put(desks, key="c" * 64)
    assert len(desks.photographs(KEY)) == 2
    desks.close()


def test_all_desks_together_have_a_limit(state):
    desks = Desks(state, Limits(all_bytes=2**30))
    put(desks, b"x")
    desks.change(KEY, desks.photographs(KEY)[0].id, bytes=2**30 - 10)
    put(desks, b"x" * 10, key=OTHER)
    with pytest.raises(NoRoom, match="the server holds 1 GiB of photographs, and no more"):
        put(desks, b"x", key=OTHER)
    desks.close()


def test_many_threads_leave_a_desk_whole(state):
    """They add, paint and remove, and one clears the desk now and then: memory and disk agree at the end."""
    desks = Desks(state)

    def visit(number: int) -> None:
        chance = random.Random(number)
        for turn in range(15):
            with suppress(Gone):  # the desk was cleared
                photograph = put(desks, bytes([number]) * 100)
                for _ in range(chance.randrange(3)):
                    desks.paint(KEY, photograph.id, {"cbcr": np.full((2, 4, 4), number, np.uint8)})
                if chance.random() < 0.3:
                    desks.remove(KEY, photograph.id)
            if number == 0 and turn == 8:
                desks.clear(KEY)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(visit, range(6)))
    listed = desks.photographs(KEY)
    expected = {f"{one.id}.{end}" for one in listed for end in ("json", "original")}
    expected |= {f"{one.id}.{one.revision}.npz" for one in listed if one.revision}
    assert files_of(state) == expected
    again = opened_again(desks, state)
    assert again.photographs(KEY) == listed
    for one in listed:
        number = again.original(KEY, one.id)[0]
        assert not one.revision or {*again.painted(KEY, one.id)[1]["cbcr"].flat} == {number}
    again.close()


def test_old_desks_make_room_and_are_cleared_at_the_start(desks, state):
    put(desks)
    put(desks, key=OTHER)
    desks.close()
    old = time.time() - 91 * desk.DAY
    os.utime(state / "desks" / KEY, (old, old))
    desks = Desks(state, Limits(desks=2))
    assert desks.photographs(KEY) == []
    assert len(desks.photographs(OTHER)) == 1
    put(desks)
    os.utime(state / "desks" / OTHER, (old, old))
    put(desks, key="c" * 64)
    assert desks.photographs(OTHER) == []
    desks.close()


def test_a_visit_keeps_a_desk(desks, state):
    put(desks)
    old = time.time() - 91 * desk.DAY
    os.utime(state / "desks" / KEY, (old, old))
    desks.photographs(KEY)
    again = opened_again(desks, state)
    assert len(again.photographs(KEY)) == 1
    again.close()


class Full:
    """A disk without room from the n-th flush on, and from then on for every new file."""

    def __init__(self, monkeypatch, left: int) -> None:
        self.left, self._flush = left, os.fsync
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, handle) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._flush(handle)


@pytest.mark.parametrize("left", [0, 1, 2])
def test_a_full_disk_leaves_nothing_half_written(desks, state, monkeypatch, left):
    """No room for the photograph, for its facts, for their name."""
    photograph = put(desks)
    desks.paint(KEY, photograph.id, ARRAYS)
    before = files_of(state)
    with monkeypatch.context() as patch:
        Full(patch, left)
        with pytest.raises(NoRoom, match="the server's disk is full"):
            put(desks)
    there = desks.photographs(KEY)
    assert [one.id for one in there] == [photograph.id]
    again = opened_again(desks, state)
    assert files_of(state) == before
    assert again.photographs(KEY) == there
    again.close()


@pytest.mark.parametrize(("left", "revision"), [(0, 1), (1, 1), (2, 1), (3, 2)])
def test_a_full_disk_keeps_one_painting_whole(desks, state, monkeypatch, left, revision):
    """Without room for what was painted, its name, the facts it is the one before; then only their name may be lost."""
    photograph = put(desks)
    desks.paint(KEY, photograph.id, ARRAYS)
    with monkeypatch.context() as patch:
        Full(patch, left)
        with pytest.raises(NoRoom):
            desks.paint(KEY, photograph.id, {"cbcr": np.zeros((2, 2, 2), np.uint8)})
    np.testing.assert_array_equal(desks.painted(KEY, photograph.id)[1]["cbcr"], ARRAYS["cbcr"])
    again = opened_again(desks, state)
    found, arrays = again.painted(KEY, photograph.id)
    assert found.revision == revision
    np.testing.assert_array_equal(arrays["cbcr"], ARRAYS["cbcr"] if revision == 1 else 0 * ARRAYS["cbcr"])
    assert len(files_of(state)) == 3
    again.close()


def test_a_disk_that_is_nearly_full_takes_no_more_and_work_goes_on(desks, state, monkeypatch):
    put(desks)
    monkeypatch.setattr(desk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**28 - 1))
    with pytest.raises(NoRoom, match="the server's disk is full"):
        put(desks)
    Full(monkeypatch, 0)
    with pytest.raises(NoRoom):
        desks.change(KEY, desks.photographs(KEY)[0].id, look={"warmth": 1.0})
    assert desks.photographs(KEY)[0].look == {}
    assert desks.take()[1].status == "working"  # that it is, is known until the server ends
    assert desks.take() is None


def test_facts_of_another_version_are_refused_and_kept(desks, state):
    photograph = put(desks)
    path = state / "desks" / KEY / f"{photograph.id}.json"
    stored = json.loads(path.read_text())
    assert stored["version"] == facts.VERSION == 1
    path.write_text(json.dumps(stored | {"version": 2, "dream": True}))
    old = time.time() - 91 * desk.DAY
    os.utime(state / "desks" / KEY, (old, old))
    desks.close()
    with pytest.raises(UserError, match=r"of version 2, expected 1; use the recolor_fast that wrote it, or another"):
        Desks(state)
    assert files_of(state) == {path.name, f"{photograph.id}.original"}
    path.write_text(json.dumps(stored))
    os.utime(state / "desks" / KEY)
    again = Desks(state)
    assert again.photographs(KEY) == [photograph]
    again.close()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"version": 1}', '{"version": 1, "id": 3}', "[" * 100_000])
def test_damaged_facts_are_left_out_and_said(desks, state, capsys, text):
    damaged, other = put(desks), put(desks)
    (state / "desks" / KEY / f"{damaged.id}.json").write_text(text)
    again = opened_again(desks, state)
    assert again.photographs(KEY) == [other]
    assert f"{damaged.id}.json: damaged" in capsys.readouterr().err
    assert f"{damaged.id}.original" in files_of(state)
    again.close()


def test_only_its_own_leftovers_are_removed(desks, state):
    photograph = put(desks)
    desks.paint(KEY, photograph.id, ARRAYS)
    desks.close()
    folder = state / "desks" / KEY
    left = [f".{'0' * 32}.part", f"{'1' * 16}.original", f"{photograph.id}.2.npz", f"{'1' * 16}.1.npz"]
    foreign = ["notes.txt", "photograph.jpg", f"{'1' * 16}.txt"]
    for name in left + foreign:
        (folder / name).write_bytes(b"x")
    (state / "desks" / f".{'2' * 32}.gone").mkdir()
    (state / "desks" / "somebody's").mkdir()
    own = {f"{photograph.id}.{end}" for end in ("json", "original", "1.npz")}
    Desks(state).close()
    assert files_of(state) == {*own, *foreign}
    assert {path.name for path in (state / "desks").iterdir()} == {KEY, "somebody's"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("old.jpg", "old.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\photographs\\old.jpg", "old.jpg"),
        ("", "photograph"),
        ("a\nb\u202egpj.exe", "a\\nb\\u202egpj.exe"),
        ("Großmutter 祖母.jpg", "Großmutter 祖母.jpg"),
        ("x" * 300 + ".jpg", "x" * 196 + ".jpg"),
    ],
)
def test_names_are_for_people_and_never_paths(desks, state, name, shown):
    photograph = put(desks, name=name)
    assert photograph.name == shown
    assert files_of(state) == {f"{photograph.id}.json", f"{photograph.id}.original"}


def test_a_key_is_no_path(desks, tmp_path):
    with pytest.raises(ValueError, match="expected 64 hexadecimal digits"):
        desks.begin("../../elsewhere")


KILLED = """
import sys
from pathlib import Path
import numpy as np
from recolor_fast.serve.desk import Desks
desks = Desks(Path(sys.argv[1]))
key = "a" * 64
for number in range(10**6):
    arriving = desks.begin(key)
    arriving.write(number.to_bytes(4, "big") * 1000)
    kept = arriving.keep(f"{number}", "model")
    arriving.close()
    print(kept.id, number, flush=True)
    key, taken = desks.take()
    desks.paint(key, taken.id, {"cbcr": np.full((2, 8, 8), 1, np.uint8)})
    desks.paint(key, taken.id, {"cbcr": np.full((2, 8, 8), 2, np.uint8)})
    if number % 3 == 2:
        print("-" + taken.id, flush=True)
        desks.remove(key, taken.id)
"""


def test_a_kill_at_any_moment_leaves_every_photograph_whole(state):
    """Whoever was told that a photograph is there finds it, unless they removed it; what is painted is whole."""
    chance = random.Random(0)
    there: dict[str, int] = {}
    for _ in range(4):
        program = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(state)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        lines = [program.stdout.readline() for _ in range(4)]
        time.sleep(chance.uniform(0, 0.1))
        program.send_signal(signal.SIGKILL)
        lines += program.stdout.read().splitlines()
        program.wait()
        program.stdout.close()
        told = [line.split() for line in lines if line.strip()]
        removed = {words[0][1:] for words in told if words[0].startswith("-")}
        there |= {words[0]: int(words[1]) for words in told if len(words) == 2}
        there = {id: number for id, number in there.items() if id not in removed}
        desks = Desks(state)
        found = {one.id: one for one in desks.photographs(KEY)}
        assert there.keys() <= found.keys()
        for id, one in found.items():
            data = desks.original(KEY, id)
            assert data == int(one.name).to_bytes(4, "big") * 1000
            assert one.status in ("ready", "waiting")
            if one.revision:
                cbcr = desks.painted(KEY, id)[1]["cbcr"]
                assert cbcr.shape == (2, 8, 8)
                assert {*cbcr.flat} == {one.revision}
        parts = {path.name.split(".")[0] for path in (state / "desks" / KEY).iterdir()}
        assert parts == found.keys()  # nothing is left behind
        desks.close()


WRITTEN = """{
 "version": 1, "id": "7d5004090bfb69cf", "name": "old.jpg", "model": "recolor_fast", "arrived": 1796061430123456789,
 "bytes": 10, "status": "ready", "reason": "", "notes": ["a note"], "width": 80, "height": 60, "in_color": false,
 "toned": true, "size": 2, "look": {"warmth": 0.5}, "hints": [{"x": 1.5, "y": 2, "color": "#c08040", "radius": null}],
 "revision": 3, "painter": ["colorizer-hints", "0123456789abcdef"], "prepared": [2, "none", "none"], "tries": 0
}"""


def test_what_the_first_version_wrote_is_read(state):
    """Never change WRITTEN: people's desks hold it."""
    folder = state / "desks" / KEY
    folder.mkdir(mode=0o700, parents=True)
    for path in (state, state / "desks"):
        path.chmod(0o700)
    (folder / "7d5004090bfb69cf.json").write_text(WRITTEN)
    (folder / "7d5004090bfb69cf.original").write_bytes(b"photograph")
    np.savez(folder / "7d5004090bfb69cf.3.npz", **ARRAYS)
    desks = Desks(state)
    photograph, arrays = desks.painted(KEY, "7d5004090bfb69cf")
    assert photograph == Photograph(
        id="7d5004090bfb69cf",
        name="old.jpg",
        model="recolor_fast",
        arrived=1796061430123456789,
        bytes=10,
        status="ready",
        notes=("a note",),
        width=80,
        height=60,
        toned=True,
        size=2,
        look={"warmth": 0.5},
        hints=(Hint(1.5, 2, "#c08040"),),
        revision=3,
        painter=("colorizer-hints", "0123456789abcdef"),
        prepared=(2, "none", "none"),
    )
    np.testing.assert_array_equal(arrays["cbcr"], ARRAYS["cbcr"])
    desks.close()
