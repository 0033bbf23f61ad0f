"""benchmark: its parts at a small size, the table beside known machines, and that these are those of bench/results."""

import json

import pytest

from bench import machine
from recolor_fast.data import dali
from recolor_fast.doctor import benchmark, rows, speed
from recolor_fast.doctor.findings import Check, Finding
from recolor_fast.doctor.table import TRAINED, speeds
from recolor_fast.presets import PRESETS

SHORT = (0.0, True)  # seconds, and small networks


def measured(finding: Finding) -> float:
    assert finding.state == "ok", finding
    assert finding.facts["runs"] >= speed.FEWEST
    rate = finding.facts["photographs_per_s"]
    assert float(finding.found.split()[0].replace(",", "")) == pytest.approx(rate, rel=0.01)
    return rate


@pytest.mark.parametrize("preset", [pytest.param(TRAINED[0], marks=pytest.mark.slow), *TRAINED[1:]])
def test_iterations_are_timed(preset):
    assert preset in PRESETS
    (finding,) = speed.train(preset, *SHORT)
    assert measured(finding) > 0
    assert (finding.name, finding.facts["batch"]) == (f"train {preset}", PRESETS[preset].batch)


@pytest.mark.parametrize("backend", ["host", pytest.param("dali", marks=pytest.mark.slow)])
def test_loading_is_timed(backend):
    if backend == "dali" and not dali.available():
        pytest.skip("NVIDIA DALI is not installed")
    (finding,) = speed.load(backend, *SHORT)
    assert measured(finding) > 0


def test_coloring_is_timed():
    (one,), (many,) = speed.color_shipped(*SHORT), speed.color_folder(*SHORT)
    assert measured(one) > 0
    assert measured(many) > 0
    assert (one.name, many.name) == ("color int8", "color a folder")


@pytest.mark.slow
def test_coloring_is_timed_in_another_precision():
    (finding,) = speed.color_exported("fp16", *SHORT)
    assert (measured(finding) > 0, finding.facts["precision"]) == (True, "fp16")


def test_the_rate_is_of_the_median_run(monkeypatch):
    now = [0.0]
    runs = iter([9, 9, 2, 6, 2, 2])  # the first two are not timed; by the last but one 10 seconds are over

    def case() -> None:
        now[0] += next(runs)

    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    finding = speed._measured("x", case, 8, 10.0, {"size": 64})
    assert (finding.found, next(runs, None)) == ("4 photographs/s, 250 ms each", 2)
    assert finding.facts == {"size": 64, "photographs_per_s": 4.0, "runs": 3}


def test_photographs_are_the_same_and_of_a_photographs_bytes(tmp_path):
    paths = speed.folder(tmp_path / "a", False, True)
    again = speed.folder(tmp_path / "b", False, True)
    assert [one.read_bytes() for one in paths] == [one.read_bytes() for one in again]
    assert 40_000 < paths[0].stat().st_size < 160_000


def test_every_part_is_there():
    for group in speeds(1.0, True):
        names = [one.name for one in group]
        for one in group:
            assert callable(
                getattr(__import__(one.function.rsplit(".", 1)[0], fromlist=["x"]), one.function.split(".")[-1])
            )
            assert not one.needs or one.needs in names
    assert {row.name for row in rows.known()} <= {one.name for group in speeds(1.0, True) for one in group}


def test_known_machines_are_those_of_the_results():
    assert rows.known() == list(machine.known())
    assert len({row.device for row in rows.known()}) >= 2


def test_the_verb_prints_a_table_beside_known_machines(capsys, monkeypatch):
    lacks = Check("torch", "tests.doctor_checks.missing")
    rate, late = Check("train", "tests.doctor_checks.rate"), Check("load", "tests.doctor_checks.rate", needs="torch")
    monkeypatch.setattr(benchmark, "speeds", lambda seconds, quick: ((rate, lacks, late),))
    monkeypatch.setattr(
        rows, "known", lambda: [rows.Row("train pix2pix", "H", 255.2, "a"), rows.Row("load host", "E", 9, "a")]
    )
    assert benchmark.main(["--quick"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["photographs/s", "here", "H", "E"]
    assert said[1].split() == ["train", "pix2pix", "12.5", "255", "-"]
    assert said[3] == "missing: not here -> pip install it"
    assert said[4] == "not looked at, for want of torch: load"
    assert benchmark.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["findings"][0]["facts"]["photographs_per_s"] == 12.5


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "99999"])
def test_seconds_out_of_range(seconds, capsys):
    assert benchmark.main(["--seconds", seconds]) == 2
    assert "expected more than 0" in capsys.readouterr().err


def test_other_work_is_told(monkeypatch):
    monkeypatch.setattr(speed.processors, "taken", lambda: 1.4)
    assert [(one.state, one.facts["busy"]) for one in speed.other_work()] == [("absent", 1.4)]
    monkeypatch.setattr(speed.processors, "taken", lambda: 0.1)
    assert [one.state for one in speed.other_work()] == ["ok"]
