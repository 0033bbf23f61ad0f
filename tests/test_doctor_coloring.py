"""doctor's checks of what colors: formats, films, the driver, providers, TensorRT: as they are here, and bad."""

import sys
from collections.abc import Callable

import numpy as np
import pytest

from recolor_fast.artefact.signatures import CPU, CUDA, TENSORRT, NoProvider
from recolor_fast.doctor import coloring, installed
from recolor_fast.doctor.child import made
from recolor_fast.doctor.findings import Check
from recolor_fast.doctor.table import COLORING, GROUPS, INSTALLED
from recolor_fast.machine import extras
from recolor_fast.photographs import encoders, libraries, pictures
from tests.doctor_checks import by_name
from tests.mends import looked_at  # noqa: F401


def test_every_format_is_written_and_read(monkeypatch):
    (finding,) = coloring.formats()
    assert finding.state == "ok"
    assert set(finding.found.removeprefix("written and read: ").split()) == set(encoders.WRITABLE) - {"HEIF", "JXL"}
    real = coloring.images.read_rgb

    def broken(data: bytes) -> np.ndarray:
        if data[:2] == b"BM":
            raise ValueError("no BMP today")
        return 255 - real(data) if data[:4] == b"\x89PNG" else real(data)

    monkeypatch.setattr(coloring.images, "read_rgb", broken)
    found = by_name(coloring.formats())
    assert (found["format BMP"].state, found["format BMP"].found) == ("fault", "no BMP today")
    assert "levels from what was written" in found["format PNG"].found
    assert "JPEG " in found["formats"].found


@pytest.mark.parametrize("name", libraries.LIBRARIES)
def test_optional_formats(name, monkeypatch):
    assert [one.state for one in coloring.library(name)] == ["ok"]
    monkeypatch.setattr(coloring.images, "read_rgb", lambda data: (_ for _ in ()).throw(ValueError("broken codec")))
    (finding,) = coloring.library(name)
    assert finding.state == "fault"
    assert finding.found.endswith("broken codec")
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    (finding,) = coloring.library(name)
    assert (finding.state, finding.mend) == ("absent", f"{extras.pip()} {libraries.LIBRARIES[name].package}")


def test_films_by_each_encoder(monkeypatch):
    pytest.importorskip("av")
    assert [one.state for one in coloring.films()] == ["ok"]
    broken = coloring.CODECS["av1"]._replace(encoder="no-such-encoder")
    monkeypatch.setattr(coloring, "CODECS", {"ffv1": coloring.CODECS["ffv1"], "av1": broken})
    (finding,) = coloring.films()
    assert finding.state == "absent"
    assert finding.found.endswith("has no encoder for av1")
    monkeypatch.setattr(coloring, "_film", lambda av, encoder: 1)
    (finding,) = coloring.films()
    assert (finding.state, finding.found) == ("fault", "ffv1: 1 of 2 frames are read; av1: 1 of 2 frames are read")
    monkeypatch.setitem(sys.modules, "av", None)
    (finding,) = made(Check("films", f"{COLORING}.films", package="av"))
    assert (finding.state, finding.mend) == ("absent", extras.advice("video"))


def test_the_raw_file_is_one():
    picture = pictures.read(coloring.raw_file(np.full((64, 48), 4000, np.uint16)))
    assert (picture.format, picture.gray.shape) == ("RAW", (64, 48))


def test_no_driver_and_a_driver_without_gpu(monkeypatch):
    monkeypatch.setattr(extras, "nvidia_driver", lambda: "no such library")
    (finding,) = coloring.driver()
    assert (finding.state, finding.found) == ("absent", "no such library")
    assert not coloring.has_gpu()

    class Library:
        def cuInit(self, flags):
            return 100

    monkeypatch.setattr(extras, "nvidia_driver", lambda: "")
    monkeypatch.setattr(coloring.ctypes, "CDLL", lambda name: Library())
    (finding,) = coloring.driver()
    assert finding.state == "fault"
    assert "sees no GPU (CUDA error 100)" in finding.found


@pytest.mark.parametrize(
    ("listed", "gpu", "state"),
    [((CPU,), False, "absent"), ((CUDA, CPU), False, "absent"), ((CUDA, CPU), True, "fault")],
)
def test_a_provider_that_does_not_load(listed, gpu, state, monkeypatch):
    def load(path, provider):
        raise NoProvider("cuda", "libcudnn.so.9 is missing", "or use provider cpu")

    class Runtime:
        def get_available_providers(self):
            return list(listed)

    monkeypatch.setattr(coloring.runtime, "load", load)
    monkeypatch.setattr(coloring, "ort", Runtime)
    monkeypatch.setattr(coloring, "has_gpu", lambda: gpu)
    (finding,) = coloring.provider("cuda")
    assert (finding.state, finding.found) == (state, "libcudnn.so.9 is missing")
    assert ("pip uninstall -y onnxruntime && " in finding.mend) == (CUDA not in listed)
    assert finding.mend.startswith("with an NVIDIA GPU") != gpu
    assert [one.state for one in coloring.provider("cpu")] == ["fault"]
    assert [one.state for one in coloring.provider("tensorrt")] == ["absent"]


def test_openvino_is_a_fault_where_it_is_installed_and_fails(monkeypatch):
    reason = NoProvider("openvino", "no such device", "pip install openvino")
    monkeypatch.setattr(coloring.runtime, "load", lambda path, provider: (_ for _ in ()).throw(reason))
    for spec, state in ((None, "absent"), (object(), "fault")):
        monkeypatch.setattr(coloring, "find_spec", lambda name, spec=spec: spec)
        assert [(one.state, one.mend) for one in coloring.provider("openvino")] == [(state, f"{extras.pip()} openvino")]


@pytest.mark.parametrize(
    ("have", "loads", "state", "said"),
    [
        ({}, False, "absent", "libnvinfer"),
        ({"tensorrt-cu13": "11.1.0"}, False, "fault", "onnxruntime takes TensorRT 10, 11 is installed"),
        ({"tensorrt-cu13": "10.9.0"}, False, "fault", "libnvinfer"),
        ({"tensorrt-cu13": "10.9.0"}, True, "ok", "libnvinfer.so.10 of version 100900"),
    ],
)
def test_tensorrt_is_to_be_of_the_major_that_onnxruntime_takes(have, loads, state, said, monkeypatch, tmp_path):
    library = tmp_path / "provider.so"
    library.write_bytes(b"\0libnvinfer.so.10\0")

    class Runtime:
        cuda_version = "13.0"

        def get_available_providers(self):
            return [TENSORRT, CUDA, CPU]

    class Loaded:
        def getInferLibVersion(self):
            return 100900

    def dll(name: str) -> Loaded:
        if not loads:
            raise OSError(f"{name}: cannot open shared object file")
        return Loaded()

    monkeypatch.setattr(coloring, "ort", Runtime)
    monkeypatch.setattr(coloring.engines, "ort", Runtime)
    monkeypatch.setattr(coloring.runtime, "provider_library", lambda name: library)
    monkeypatch.setattr(coloring, "tensorrt_versions", lambda: have)
    monkeypatch.setattr(coloring.ctypes, "CDLL", dll)
    (finding,) = coloring.tensorrt()
    assert finding.state == state
    assert said in finding.found
    assert state == "ok" or finding.mend == f"{extras.pip()} 'tensorrt-cu13>=10,<11'"


def test_this_machines_own_findings_have_a_mending():
    """All that takes no compiler and no second process."""
    functions: list[Callable] = [
        installed.wholes,
        installed.runtimes,
        coloring.listed,
        coloring.tensorrt,
        coloring.driver,
    ]
    findings = [finding for function in functions for finding in function()]
    assert all(bool(one.mend) == (one.state != "ok") for one in findings)
    assert {INSTALLED, COLORING} == {one.function.rsplit(".", 1)[0] for one in GROUPS[0]}
