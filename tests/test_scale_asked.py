"""`colorize --engine ray` where the extra scale is not installed."""

import sys

from tests import artefacts
from tests.commands import run
from tests.photographs import write_jpegs


def test_the_extra_is_named_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith(("recolor_fast.scale.", "pyarrow", "ray"))]:
        if name != "recolor_fast.scale.asked":
            monkeypatch.delitem(sys.modules, name)
            package, _, module = name.rpartition(".")
            if package in sys.modules:  # else `from package import module` would find it there
                monkeypatch.delattr(sys.modules[package], module, raising=False)
    for name in ("ray", "pyarrow", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not there
    write_jpegs(tmp_path / "in", 1)
    model = artefacts.constant(tmp_path / "sepia.onnx")
    before = sorted(tmp_path.rglob("*"))
    assert run(tmp_path / "in", tmp_path / "out", "--engine", "ray", model=model) == 2
    told = capsys.readouterr().err.splitlines()
    assert len([line for line in told if "is not installed" in line]) == 1
    assert "[scale]'" in told[-1]
    assert sorted(tmp_path.rglob("*")) == before
