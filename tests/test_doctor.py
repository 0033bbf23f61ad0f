"""doctor: checks that crash or hang are findings, each check's bad case, the table, JSON and exit codes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from recolor_fast.doctor import __main__ as doctor
from recolor_fast.doctor import apart, installed, report
from recolor_fast.doctor.apart import examined, reinstall
from recolor_fast.doctor.child import made
from recolor_fast.doctor.findings import Check, Finding, exit_code
from recolor_fast.doctor.table import GROUPS
from recolor_fast.machine import extras, memory
from recolor_fast.machine.signals import Stopped
from tests.doctor_checks import by_name
from tests.mends import looked_at  # noqa: F401

ROOT = Path(__file__).parent.parent
HERE = "tests.doctor_checks"


def check(name: str, **rest) -> Check:
    return Check(name, f"{HERE}.{name}", **rest)


# --- apart ---------------------------------------------------------------------------------------------------------


def test_what_crashes_or_hangs_is_a_finding_and_the_others_go_on():
    done: list[str] = []
    checks = [
        check("well"),
        check("aborts", package="torch"),
        Check("second", f"{HERE}.well", ("after an abort",)),
        check("leaves"),
        check("hangs", seconds=0.3, package="rawpy"),
        check("raises", package="numpy"),
        check("refuses"),
        check("lacks", package="torch"),
        Check("last", f"{HERE}.well", ("still here",)),
    ]
    found = examined(checks, lambda one: done.append(one.name))
    assert done == [one.name for one in checks]
    assert [(one.name, one.state) for one in found] == [
        ("well", "ok"),
        ("aborts", "fault"),
        ("well", "ok"),
        ("leaves", "fault"),
        ("hangs", "fault"),
        ("raises", "fault"),
        ("refuses", "fault"),
        ("lacks", "fault"),
        ("well", "ok"),
    ]
    _, aborts, second, leaves, hangs, raises, refuses, lacks, last = found
    assert aborts.found == "its process was ended by SIGABRT: terminate called: no such symbol"
    assert aborts.mend == reinstall("torch")
    assert "torch" in aborts.mend
    assert leaves.found.startswith("its process ended with exit code 7")
    assert "doctor --json" in leaves.mend
    assert hangs.found.startswith("it did not end in 0.3 seconds")
    assert re.fullmatch(r"RuntimeError: two lines \(doctor_checks.py, line \d+\)", raises.found)
    assert refuses.found == "no such weights"
    assert lacks.found == "torch_that_is_not_there is not installed, which torch needs"
    assert lacks.mend == f"{extras.pip()} torch"
    assert all(one.mend for one in found if one.state != "ok")
    assert raises.facts["seconds"] >= 0
    assert second.facts["pid"] != found[0].facts["pid"]  # another process after the first was brought down
    assert last.found == "still here"


def test_the_processes_import_what_this_one_would(monkeypatch, tmp_path):
    (tmp_path / "recolor_fast").mkdir()  # of another version, say
    (tmp_path / "recolor_fast" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    assert [one.state for one in examined([check("well")])] == ["ok"]


def test_checks_share_a_process_and_skip_what_lacks_its_ground():
    checks = [
        check("well"),
        Check("again", f"{HERE}.well", needs="well"),
        check("missing"),
        check("raises", needs="missing"),
        Check("end", f"{HERE}.well", needs="again"),
    ]
    found = examined(checks)
    assert [one.state for one in found] == ["ok", "ok", "absent", "skipped", "ok"]
    assert len({one.facts["pid"] for one in found if one.state == "ok"}) == 1
    assert found[3].found == "not looked at, for want of missing"


def test_a_module_that_an_extra_brings_is_absent_with_that_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)  # as if it were not installed
    (finding,) = made(Check("torch", "lpips.anything", package="torch"))
    assert (finding.state, finding.found, finding.mend) == ("absent", "lpips is not installed", extras.advice("train"))


def test_a_package_that_lost_a_part_of_its_own_is_a_fault():
    (finding,) = made(Check("torch", "torch.no_such_part.anything", package="torch"))
    assert (finding.state, finding.found) == ("fault", "torch is damaged, it lacks torch.no_such_part")
    assert finding.mend == reinstall("torch")


def test_what_cannot_be_imported_is_of_the_package_to_install_again():
    (finding,) = made(check("breaks", package="onnxruntime"))
    assert "file too short" in finding.found
    assert finding.mend == reinstall("pillow")


def test_packages_that_lack_files_are_damaged(monkeypatch):
    assert {one.state for one in installed.parts()} == {"ok"}
    real = metadata.files

    def files(name: str) -> list[metadata.PackagePath] | None:
        found = real(name)
        if found and name == "pillow":
            lacking = metadata.PackagePath("PIL/NoPlugin.py")
            lacking.dist = found[0].dist
            library = next(path for path in found if ".so." in path.name)  # libjpeg.so.62, say
            library.size += 1  # as if some of it had gone
            return [lacking, *found]
        return found

    monkeypatch.setattr(installed.metadata, "files", files)
    (finding,) = installed.parts()
    assert (finding.name, finding.mend) == ("pillow", reinstall("pillow"))
    assert finding.found == "damaged: PIL/NoPlugin.py is missing or cut (and 1 more)"


@pytest.mark.parametrize(
    ("module", "found", "mend"),
    [
        ("PIL.no_such_part", "pillow is damaged, it lacks PIL.no_such_part", reinstall("pillow")),
        ("_sqlite3", "this Python lacks _sqlite3, a part of its standard library", "install a Python that has it"),
    ],
)
def test_what_needs_no_extra_is_told_by_what_it_is_a_part_of(module, found, mend, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    (finding,) = made(Check("formats", f"{module}.anything", package="numpy"))
    assert (finding.state, finding.found, finding.mend) == ("fault", found, mend)


def test_a_signal_ends_the_checks_at_once_and_what_they_began(tmp_path):
    """Two processes leave a folder if they are killed too soon, one ignores what asks it to end; more signals come."""
    ready = tmp_path / "stubborn"
    tidy = check("tidy", arguments=(str(tmp_path),))
    groups = [[tidy], [check("stubborn", arguments=(str(ready),))], [tidy]]
    program = (
        "import sys; from recolor_fast.doctor import report; from recolor_fast.doctor.findings import Check\n"
        "from recolor_fast.machine import starting\n"
        f"groups = [[Check(*one) for one in group] for group in {[[tuple(one) for one in some] for some in groups]}]\n"
        "sys.exit(starting.ended(lambda: report.looked(groups, 'looking', at_once=3)))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        while process.poll() is None and not (
            len([*tmp_path.glob("tmp*/ready")]) == 2 and ready.exists() and ready.read_text()
        ):
            time.sleep(0.01)
        child = int(ready.read_text())
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
            time.sleep(0.05)
        _, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (130, "interrupted\n")
    assert not list(tmp_path.glob("tmp*"))
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_signal_while_the_groups_are_begun_ends_them(monkeypatch):
    begun: list[Iterator[list[Finding]]] = []

    class Pool(ThreadPoolExecutor):
        def map(self, *work):
            begun.append(super().map(*work))
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(report, "ThreadPoolExecutor", Pool)
    with pytest.raises(Stopped):
        report.looked([[check("hangs", seconds=5)]], "looking")
    assert not [one for some in begun[0] for one in some if one.found.startswith("it did not end")]


def test_without_signals_of_posix_processes_are_ended(monkeypatch):
    monkeypatch.setattr(apart, "os", SimpleNamespace(name="nt"))
    monkeypatch.setattr(subprocess.Popen, "kill", subprocess.Popen.terminate)
    monkeypatch.delattr(signal, "SIGKILL")
    assert [one.state for one in examined([check("well"), check("hangs", seconds=0.1)])] == ["ok", "fault"]


def test_what_colors_is_looked_at_without_torch():
    group = GROUPS[0]
    assert not any("training" in one.function or "loading" in one.function for one in group)
    light = [one for one in group if one.name not in ("formats", "versions", "disks", "C++ compiler")]
    found = by_name(examined([*light, check("imported")]))
    assert found["provider cpu"].state == "ok"
    assert found["provider cpu"].facts["milliseconds"] > 0
    loaded = found["imported"].found.split()
    assert {"onnxruntime", "cv2"} <= set(loaded)
    assert not {"torch", "torchvision", "onnx", "skimage"} & set(loaded)


def test_every_check_of_the_table_is_there_and_needs_an_earlier_one():
    for group in GROUPS:
        names: list[str] = []
        for one in group:
            module, name = one.function.rsplit(".", 1)
            path = ROOT / f"{module.replace('.', '/')}.py"
            assert re.search(rf"^def {name}\(", path.read_text(), re.M), one
            assert not one.needs or one.needs in names, one
            names.append(one.name)
        assert len(set(names)) == len(names)


# --- the verb ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("function", "code"), [("missing", 0), ("raises", 3)])
def test_the_verb_ends_with_3_where_something_does_not_work(function, code, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "GROUPS", ((check("well"),), (check(function),)))
    assert doctor.main([]) == code
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "ok      well" + " " * (len(function) - 4) + "  well"
    assert said[1].startswith(f"{'fault' if code else 'absent':7} {function}")
    assert said[2].strip().startswith("-> ")
    assert said[-1].startswith(f"1 ok; {0 if code else 1} absent")


def test_json_holds_all_of_it(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "GROUPS", ((check("well"), check("missing"), check("raises", needs="missing")),))
    assert doctor.main(["--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"schema", "exit_code", "seconds", "versions", "findings"}
    assert (told["schema"], told["exit_code"]) == (report.SCHEMA, 0)
    assert told["versions"]["python"] == sys.version.split()[0]
    assert [set(one) for one in told["findings"]] == [set(Finding._fields)] * 3
    assert [one["state"] for one in told["findings"]] == ["ok", "absent", "skipped"]
    assert told["findings"][0]["facts"]["pid"] != os.getpid()


def test_wrong_words_are_wrong_usage(capsys):
    assert doctor.main(["--jsn"]) == 2
    assert "--json" in capsys.readouterr().err


def test_the_table_keeps_commands_in_one_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    command = "pip install " + " ".join(f"package-{number}" for number in range(20))
    text = report.as_text(
        [
            Finding("a", "fault", "word " * 40, command),
            Finding("b", "skipped", "not looked at, for want of a", "see a"),
        ],
        1.5,
    )
    assert f"-> {command}\n" in text
    assert max(len(line) for line in text.splitlines() if "word" in line) <= 60
    assert "not looked at, for want of a: b" in text
    assert "1 fault: to be mended (2 s)" in text


def test_the_exit_code_is_of_faults_alone():
    assert exit_code([Finding("a", "ok", ""), Finding("b", "absent", "", "x"), Finding("c", "skipped", "")]) == 0
    assert exit_code([Finding("a", "ok", ""), Finding("b", "fault", "", "x")]) == 3


# --- installed -----------------------------------------------------------------------------------------------------


def test_an_old_python_is_a_fault(monkeypatch):
    assert next(installed.python()).state == "ok"
    monkeypatch.setattr(installed.platform, "python_version", lambda: "3.11.3")
    finding = next(installed.python())
    assert finding.state == "fault"
    assert "3.11.4 or later" in finding.found
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"] == f">={installed.PYTHON}"


@pytest.fixture
def have(monkeypatch) -> dict[str, str]:
    """What is installed, to be changed by the test; what is wanted is below."""
    versions = {"numpy": "2.0", "torch": "2.14", "lpips": "0.1.4", "onnx": "1.22", "fastapi": "1.0", "rawpy": "0.28"}
    wanted = {
        "": ["numpy>=1.26"],
        "cpu": ["onnxruntime>=1.28.3"],
        "train": ["torch>=2.14", "lpips>=0.1.4", "dali>=2; sys_platform == 'linux' or sys_platform != 'linux'"],
        "formats": ["pillow-heif>=1", "rawpy>=0.28"],
        "scale": ["ray[data]>=2", "pandas>=3"],
        "dev": ["pytest>=9"],
    }
    parsed = {name: [Requirement(text) for text in texts] for name, texts in wanted.items()}
    monkeypatch.setattr(installed, "version", lambda name: versions.get(name, ""))
    monkeypatch.setattr(installed, "wanted", lambda: parsed)
    return versions


def test_versions_that_are_too_old_are_faults(have):
    assert [one.state for one in installed.versions()] == ["ok"]
    have["torch"] = "2.9.1+cu130"
    del have["numpy"]
    found = by_name(installed.versions())
    assert set(found) == {"numpy", "torch"}
    assert (found["torch"].state, found["torch"].mend) == ("fault", "pip install 'torch>=2.14'")
    assert found["numpy"].state == "fault"
    have.update(numpy="2.0", torch="2.15.0a0+git1")  # made by hand
    assert [one.state for one in installed.versions()] == ["ok"]


def test_an_extra_is_whole_lacking_or_broken(have):
    found = by_name(installed.wholes())
    assert set(found) == {"extra train", "extra formats", "extra scale"}  # cpu has a check of its own
    assert found["extra train"].state == "absent"  # of it only what not every platform has is missing
    assert (found["extra formats"].state, found["extra formats"].found) == ("absent", "lacks pillow-heif")
    assert (found["extra scale"].found, found["extra scale"].mend) == ("not installed", extras.advice("scale"))
    del have["lpips"]
    broken = by_name(installed.wholes())["extra train"]
    assert (broken.state, broken.found, broken.facts["lacking"]) == ("fault", "lacks lpips, dali", ["lpips", "dali"])
    have["dali"], have["lpips"] = "2.4", "0.1.4"
    assert by_name(installed.wholes())["extra train"].state == "ok"


def test_a_wheel_asks_for_what_a_checkout_does(monkeypatch):
    told = installed.wanted()
    assert {"", "train", "formats", "serve", "scale"} <= set(told)
    monkeypatch.setattr(installed, "PROJECT", ROOT / "no such file")
    lines = [f"Requires-Dist: {one}" for one in told[""]]
    for name, some in told.items():
        for one in some if name else ():
            plain, _, marker = str(one).partition(";")
            both = f"({marker.strip()}) and " if marker else ""
            lines.append(f'Requires-Dist: {plain.strip()}; {both}extra == "{name}"')
    text = "\n".join([*(f"Provides-Extra: {name}" for name in told if name), *lines])
    from email import message_from_string

    monkeypatch.setattr(installed.metadata, "metadata", lambda name: message_from_string(text))
    again = installed.wanted()
    assert {name: [one.name for one in some] for name, some in again.items()} == {
        name: [one.name for one in some] for name, some in told.items()
    }


def test_both_onnxruntimes_at_once_and_none(monkeypatch):
    both = {"onnxruntime": "1.31", "onnxruntime-gpu": "1.31"}
    monkeypatch.setattr(extras, "_installed", lambda name: name in both)
    monkeypatch.setattr(installed, "version", lambda name: both.get(name, ""))
    (finding,) = installed.runtimes()
    assert finding.state == "fault"
    assert "are both installed and overwrite each other's files" in finding.found
    assert finding.mend.startswith("pip uninstall -y onnxruntime onnxruntime-gpu")
    assert finding.facts == {"installed": both}
    both.clear()
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    (finding,) = installed.runtimes()
    assert (finding.state, finding.mend) == ("fault", extras.advice(extras.fitting()))


def test_models_that_are_missing(monkeypatch, tmp_path):
    assert [one.state for one in installed.files()] == ["ok"]
    assert {path.name for path in installed.SHIPPED.iterdir()} >= set(installed.FILES)
    monkeypatch.setattr(installed, "SHIPPED", tmp_path)
    assert {one.name for one in installed.files() if one.state == "fault"} == set(installed.FILES)


def test_a_compiler_that_is_missing_broken_or_without_headers(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert [(one.state, one.mend) for one in installed.compiler()] == [("absent", "unset CXX")]
    with monkeypatch.context() as patch:
        patch.setattr(installed.shutil, "which", lambda name: None)
        assert [(one.state, one.mend) for one in installed.compiler()] == [("absent", "sudo apt-get install g++")]
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    assert [one.state for one in installed.compiler()] == ["fault"]
    broken.write_text("#!/bin/sh\necho c++ 14\n")
    for place, mend in (
        ("/usr/include/none", f"sudo apt-get install {installed.HEADERS}"),
        (tmp_path, "install a Python"),
    ):
        monkeypatch.setattr(installed.sysconfig, "get_path", lambda name, place=place: str(place))
        (finding,) = installed.compiler()
        assert (finding.state, finding.mend.startswith(mend)) == ("absent", True)
    (tmp_path / "Python.h").touch()
    assert [(one.state, one.found) for one in installed.compiler()] == [("ok", "c++ 14")]


def test_little_memory(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2**29)
    found = by_name(installed.machine())
    assert (found["memory"].state, found["memory"].found) == ("fault", "0.5 GiB free: training at 256 pixels takes 2")
    monkeypatch.setattr(memory, "available", lambda: None)
    assert by_name(installed.machine())["memory"].state == "ok"


def test_full_and_closed_disks(monkeypatch, tmp_path):
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "not" / "made"))
    assert [one.state for one in installed.disks()] == ["ok"] * 3
    assert not (tmp_path / "not").exists()
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(installed.shutil, "disk_usage", lambda folder: usage(2**30))
    found = by_name(installed.disks())
    assert [one.state for one in found.values()] == ["fault"] * 3
    assert "RECOLOR_FAST_CACHE" in found["disk of the cache"].mend
    monkeypatch.setattr(installed.os, "access", lambda folder, mode: False)
    assert all("cannot be written" in one.found for one in installed.disks())


@pytest.mark.skipif(os.name != "posix", reason="no modes of files")
def test_a_cache_that_others_may_use(monkeypatch, tmp_path):
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path))
    assert [one.state for one in installed.cache()] == ["ok"]
    (tmp_path / "tensorrt").mkdir(mode=0o700)
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled").chmod(0o777)
    (finding,) = installed.cache()
    assert (finding.name, finding.state) == ("cache compiled", "fault")
    assert f"chmod 700 {tmp_path / 'compiled'}" in finding.mend
