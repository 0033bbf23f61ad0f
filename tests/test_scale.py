"""What a cluster's workers do with photographs, and the table of it; no Ray is started."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recolor_fast.coloring import coloring
from recolor_fast.coloring.coloring import Settings
from recolor_fast.coloring.folder import Record
from recolor_fast.photographs import provenance, walk
from tests.commands import run

pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra scale")

from pyarrow import parquet

from recolor_fast.scale import places, table
from recolor_fast.scale.worker import Item, Task, Worker

MADE = {"colored_by": "recolor_fast 1", "model": "sepia", "sha256": "0123", "quality": 95}


@pytest.fixture
def photos(photos) -> Path:
    (photos / "notes.txt").write_text("no picture")
    (photos / ".hidden").touch()
    return photos


def worker(model: Path, output: str, **settings: object) -> Worker:
    chosen = Settings(color="recolor", **settings)
    here = str(Path.cwd())
    return Worker(Task(model.read_bytes(), "sepia", "cpu", 1, chosen, None, output, provenance.colored_by(), here))


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_urls_give_what_the_folder_tool_gives(photos, model, tmp_path):
    url, out = photos.as_uri(), (tmp_path / "out").as_uri()
    places.check([url], out)
    items = [Item(*one[:3], False, "", one[3]) for one in places.find([url], out, walk.EVERYTHING)]
    assert [(one.below, one.left) for one in items if not one.below.startswith("sub")] == [
        (".hidden", "hidden"),
        ("notes.txt", ""),
    ]
    colored = worker(model, out)
    first = colored({"item": [json.dumps(item) for item in items]})["record"]
    assert run("in", "alone", "--color", "recolor", model=model) == 0
    assert files(tmp_path / "out") == files(tmp_path / "alone")
    records = {one["input"]: one for one in map(json.loads, first)}
    assert records[f"{url}/sub/000.jpg"]["output"] == f"{out}/sub/000.jpg"
    assert sorted(one["status"] for one in records.values()) == ["ok"] * 3 + ["skipped"] * 2
    assert {one.reason for one in colored.colored(items)} == {"done before", "not an image", "hidden"}


def test_a_worker_takes_no_room_by_the_memory_that_is_free(photos, model, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(coloring, "_room", lambda workers, alone: seen.append(alone) or coloring.PIXELS)
    (found,) = worker(model, "out").colored([Item("in", "sub/000.jpg", "sub/000.jpg")])
    assert (found.status, seen) == ("ok", [False])


def test_an_output_of_other_settings_is_named_by_its_url(photos, model, tmp_path):
    url, out = photos.as_uri(), (tmp_path / "out").as_uri()
    items = [Item(url, "sub/000.jpg", "sub/000.jpg")]
    assert [one.status for one in worker(model, out).colored(items)] == ["ok"]
    [again] = worker(model, out, saturation=2.0).colored(items)
    assert again.status == "failed"
    assert f"its output {out}/sub/000.jpg was made differently: saturation 1, now 2" in again.reason


def test_what_is_missing_is_one_failed_record(photos, model, tmp_path):
    url, out = photos.as_uri(), (tmp_path / "out").as_uri()
    [gone] = worker(model, out).colored([Item(url, "gone.jpg", "gone.jpg")])
    assert (gone.input, gone.status, gone.reason) == (f"{url}/gone.jpg", "failed", "No such file or directory")


def test_the_table_is_whole_also_of_a_run_that_breaks(tmp_path):
    records = [Record("a.jpg", "out/a.jpg", "ok", width=9), Record("b\udcff.jpg", None, "failed", "why", notes=("n",))]

    def breaks():
        yield from records
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        list(table.recorded(breaks(), str(tmp_path / "out"), MADE))
    list(table.recorded(iter(records[:1]), str(tmp_path / "out"), MADE))
    rows = parquet.read_table(tmp_path / "out.records").to_pylist()
    assert sorted(row["input"] for row in rows) == ["a.jpg", "a.jpg", "b\\udcff.jpg"]
    failed = next(row for row in rows if row["status"] == "failed")
    assert (failed["reason"], failed["notes"], failed["model"], failed["sha256"]) == ("why", ["n"], "sepia", "0123")
    assert json.loads(failed["settings"]) == {"quality": 95}


def test_places_that_cannot_be_used_are_named(photos, tmp_path):
    with pytest.raises(ValueError, match=r"input .*gone: expected a folder of photographs that exists"):
        places.check([(tmp_path / "gone").as_uri()], (tmp_path / "out").as_uri())
    with pytest.raises(ValueError, match="input and output are both"):
        places.check([photos.as_uri()], photos.as_uri())
    with pytest.raises(ValueError, match="nothing://x: cannot be used"):
        places.check(["nothing://x"], "out")
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"output .*file/out: cannot be written"):
        places.check([photos.as_uri()], (tmp_path / "file" / "out").as_uri())


def test_a_worker_of_another_version_does_not_begin(photos, model):
    task = worker(model, "out").task._replace(version="recolor_fast 0")
    with pytest.raises(ValueError, match=r"on a worker, recolor_fast 0 here: install the same everywhere"):
        Worker(task)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("in out --engine ray --watch", "watch with engine ray: one machine does that"),
        ("in out --engine ray --temporal", "temporal with engine ray"),
        ("in --engine ray --in-place", "in_place with engine ray"),
        ("in - --engine ray", "- with engine ray: one image needs no cluster"),
        ("s3://a/in out", "path s3://a/in: URLs are read and written with --engine ray"),
        ("in out --cluster x:1", "cluster x:1 without engine ray"),
        ("in out --engine ray --cluster 127.0.0.1:1", "cluster 127.0.0.1:1: not reached (Connection refused)"),
    ],
)
def test_what_does_not_go_with_a_cluster(words, said, photos, model, capsys):
    if "--cluster 127" in words:
        pytest.importorskip("ray", reason="needs Ray, of the extra scale")
    assert run(*words.split(), model=model) == 2
    assert said in capsys.readouterr().err


def test_nothing_of_ray_is_imported_unasked():
    program = "import sys, recolor_fast.colorize; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"ray", "pyarrow", "pandas", "fsspec"} & set(loaded)
