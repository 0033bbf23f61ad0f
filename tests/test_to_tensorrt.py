"""The TensorRT engine's way, against a stand-in for the tensorrt package that computes with onnxruntime.

The stand-in has the names, arguments and types of TensorRT's Python API that the script uses (10.16 and 11.4). What
TensorRT itself makes of a model only a GPU can show (the test marked gpu).
"""

import ctypes
import enum
import importlib.util
import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from recolor_fast.artefact import engines, proof, runtime
from recolor_fast.export import to_tensorrt
from tests import artefacts
from tests.photographs import write_jpegs


class Flag(enum.IntEnum):
    STRONGLY_TYPED = 1  # its value in TensorRT 10: a bit number


class Mode(enum.Enum):
    INPUT, OUTPUT = 1, 2


def stand_in(version: int = 11, fails: str = "", off: int = 0) -> SimpleNamespace:
    """A tensorrt package whose engines hold the ONNX model. `fails` names the call that fails, `off` is added."""
    calls: list[tuple] = []

    class Logger:
        WARNING = "warning"

        def __init__(self, severity):
            assert severity == Logger.WARNING

    class Network:
        model = b""

    class Parser:
        def __init__(self, network, logger):
            self.network, self.num_errors = network, 2
            assert isinstance(logger, Logger)

        def parse(self, model):
            self.network.model = bytes(model)
            return fails != "parse"

        def get_error(self, index):
            return SimpleNamespace(desc=lambda: f"reason {index}")

    class Profile(dict):
        def set_shape(self, name, least, usual, largest):
            assert all(isinstance(shape, tuple) for shape in (least, usual, largest))
            self[name] = (least, usual, largest)

    class Cache:
        def __init__(self, known):
            self.known = known

        def serialize(self):
            return memoryview(self.known + b"+")

    class Config:
        profile: Profile | None = None
        cache: Cache | None = None

        def set_memory_pool_limit(self, pool, size):
            calls.append(("workspace", pool, size))

        def clear_flag(self, flag):
            calls.append(("clear", flag))

        def add_optimization_profile(self, profile):
            self.profile = profile
            return -1 if fails == "profile" else 0

        def create_timing_cache(self, known):
            return None if known == b"damaged" else Cache(known)

        def set_timing_cache(self, cache, ignore_mismatch):
            assert ignore_mismatch is False
            if cache.known == b"other GPU":
                return False
            self.cache = cache
            return True

        def get_timing_cache(self):
            return self.cache

    class Builder:
        def __init__(self, logger):
            assert isinstance(logger, Logger)
            if fails == "start":
                raise TypeError("pybind11::init(): factory function returned nullptr")

        def create_network(self, flags):
            calls.append(("network", flags))
            return Network()

        create_builder_config = staticmethod(Config)
        create_optimization_profile = staticmethod(Profile)

        def build_serialized_network(self, network, config):
            text = json.dumps(config.profile).encode()
            return None if fails == "build" else memoryview(text + b"\0" + network.model)

    class Context:
        def __init__(self, plan):
            text, _, model = bytes(plan).partition(b"\0")
            self.profile, self.where, self.shape = json.loads(text), {}, ()
            self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
            self.names = [value.name for value in (*self.session.get_inputs(), *self.session.get_outputs())]

        def set_input_shape(self, name, shape):
            least, _, largest = self.profile[name]
            self.shape = shape
            return all(low <= side <= high for low, side, high in zip(least, shape, largest))

        def get_tensor_shape(self, name):
            assert name == self.names[1]
            return self._result(np.zeros(self.shape, np.uint8)).shape

        def set_tensor_address(self, name, address):
            self.where[name] = int(address)
            return fails != "address"

        def execute_async_v3(self, stream):
            calls.append(("run", stream, self.shape))
            taken = (ctypes.c_uint8 * int(np.prod(self.shape))).from_address(self.where[self.names[0]])
            result = self._result(np.frombuffer(taken, np.uint8).reshape(self.shape)) + np.uint8(off)
            ctypes.memmove(self.where[self.names[1]], result.tobytes(), result.size)
            return fails != "run"

        def _result(self, batch):
            return self.session.run(None, {self.names[0]: batch})[0]

    class Runtime:
        def __init__(self, logger):
            assert isinstance(logger, Logger)

        def deserialize_cuda_engine(self, plan):
            context = Context(plan)
            return (
                None
                if fails == "load"
                else SimpleNamespace(
                    num_io_tensors=2,
                    get_tensor_name=lambda index: context.names[1 - index],  # the output first: order is not promised
                    get_tensor_mode=lambda name: Mode.INPUT if name == context.names[0] else Mode.OUTPUT,
                    create_execution_context=lambda: None if fails == "memory" else context,
                )
            )

    return SimpleNamespace(
        __version__=f"{version}.0.0",
        NetworkDefinitionCreationFlag=Flag if version < 12 else SimpleNamespace(),
        BuilderFlag=SimpleNamespace(TF32="TF32"),
        MemoryPoolType=SimpleNamespace(WORKSPACE="WORKSPACE"),
        TensorIOMode=Mode,
        Logger=Logger,
        Builder=Builder,
        OnnxParser=Parser,
        Runtime=Runtime,
        calls=calls,
    )


PROFILE = engines.profiles("chroma", 64)


@pytest.mark.parametrize(("version", "flags"), [(10, 2), (11, 2), (12, 0)])
def test_networks_are_strongly_typed_where_that_is_asked_for(version: int, flags: int, tmp_path: Path) -> None:
    trt, model = stand_in(version), artefacts.echo(tmp_path / "a.onnx").read_bytes()
    plan, timing = to_tensorrt.build(trt, model, PROFILE, 0, b"known")
    assert trt.calls == [("network", flags), ("clear", "TF32")]
    assert (plan.partition(b"\0")[2], timing) == (model, b"known+")


def test_scratch_memory_is_limited_where_asked(tmp_path: Path) -> None:
    trt, model = stand_in(), artefacts.echo(tmp_path / "a.onnx").read_bytes()
    to_tensorrt.build(trt, model, PROFILE, 2**20, b"")
    assert ("workspace", "WORKSPACE", 2**20) in trt.calls


@pytest.mark.parametrize("timing", [b"damaged", b"other GPU"])
def test_timings_that_do_not_fit_are_made_anew(timing: bytes, tmp_path: Path) -> None:
    model = artefacts.echo(tmp_path / "a.onnx").read_bytes()
    assert to_tensorrt.build(stand_in(), model, PROFILE, 0, timing)[1] == b"+"


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ("start", "does not start"),
        ("parse", "cannot read it: reason 0; reason 1"),
        ("profile", "does not take the shapes"),
        ("build", "cannot build it"),
        ("load", "cannot load"),
        ("memory", "memory"),
        ("address", r"cannot run the shape \(1, 1, 64, 64\)"),
        ("run", r"cannot run the shape \(1, 1, 64, 64\)"),
    ],
)
def test_whatever_tensorrt_refuses_is_told(fails: str, words: str, tmp_path: Path) -> None:
    trt, model = stand_in(fails=fails), artefacts.echo(tmp_path / "a.onnx").read_bytes()

    def everything():
        plan, _ = to_tensorrt.build(trt, model, PROFILE, 0, b"")
        to_tensorrt.Engine(trt, plan, 7)(torch.zeros(1, 1, 64, 64, dtype=torch.uint8))

    with pytest.raises(to_tensorrt.Failed, match=words):
        everything()


def test_an_engine_runs_any_batch_of_its_profile_in_its_stream(tmp_path: Path) -> None:
    trt, model = stand_in(), artefacts.echo(tmp_path / "a.onnx").read_bytes()
    engine = to_tensorrt.Engine(trt, to_tensorrt.build(trt, model, PROFILE, 0, b"")[0], 7)
    for count in (1, 3, 32):
        gray = torch.randint(0, 256, (64, 64, 1, count), dtype=torch.uint8).permute(3, 2, 0, 1)  # in another order
        assert torch.equal(engine(gray), torch.cat([gray, gray], 1))
        assert trt.calls[-1] == ("run", 7, (count, 1, 64, 64))
    with pytest.raises(to_tensorrt.Failed, match=r"does not take the shape \(33, 1, 64, 64\)"):
        engine(torch.zeros(33, 1, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("off", [0, 2])
def test_the_difference_is_that_of_the_engine(off: int, tmp_path: Path) -> None:
    trt, path = stand_in(off=off), artefacts.constant(tmp_path / "a.onnx")
    artefact = runtime.load(path, "cpu")
    shapes = engines.profiles(artefact.graph, 64)
    engine = to_tensorrt.Engine(trt, to_tensorrt.build(trt, path.read_bytes(), shapes, 0, b"")[0], 7)
    batches = [np.random.default_rng(seed).integers(60, 200, (2, 1, 64, 64), dtype=np.uint8) for seed in range(3)]
    views = [proof.View((batch,), batch[:, 0]) for batch in batches]
    found = proof.prove(artefact.run, lambda batch: engine(torch.from_numpy(batch)).numpy(), artefact.graph, views)
    assert found.largest == found.mean == off
    assert (found.ciede2000 == 0) == (off == 0)
    assert found.ciede2000 < 5


def test_photographs_come_in_batches_of_the_profile(tmp_path: Path) -> None:
    write_jpegs(tmp_path / "photographs", 50, height=70, width=90)  # five of them to prove it on
    chroma = runtime.load(artefacts.echo(tmp_path / "a.onnx"), "cpu")

    def shapes(batch):
        (profile,) = engines.profiles("chroma", 64, batch).values()
        views = to_tensorrt.photographs(chroma, str(tmp_path / "photographs"), 5, profile)
        assert all(one.dtype == np.uint8 for view in views for one in view.inputs)
        return [view.inputs[0].shape for view in views]

    assert shapes((1, 8, 32)) == [(1, 1, 64, 64)] * 5 + [(5, 1, 64, 64)]
    assert shapes((1, 2, 3)) == [(1, 1, 64, 64)] * 5 + [(3, 1, 64, 64)]
    assert shapes((4, 4, 4)) == [(4, 1, 64, 64)] * 3
    assert shapes((8, 8, 8)) == [(8, 1, 64, 64)] * 2


def test_a_graph_that_tensorrt_cannot_take_is_named_with_the_one_it_can(tmp_path: Path, capsys) -> None:
    """Interleaved bytes at both ends: no engine is tried, here or by onnxruntime's provider."""
    path = artefacts.painter(tmp_path / "a.onnx")
    assert to_tensorrt.main([str(path)]) == 2
    assert "graph image runs in onnxruntime; give one of --graph chroma" in capsys.readouterr().err
    with pytest.raises(runtime.NoProvider, match=r"takes no graph image .*; give an artefact of --graph chroma"):
        runtime.load(path, "tensorrt")


def test_without_tensorrt_or_a_gpu_nothing_is_written(tmp_path: Path, capsys) -> None:
    if torch.cuda.is_available() and importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is here")
    path = artefacts.echo(tmp_path / "a.onnx")
    assert to_tensorrt.main([str(path)]) == 4
    said = capsys.readouterr()
    assert "pip install 'tensorrt-cu13>=10,<11'" in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert list(tmp_path.iterdir()) == [path]


def test_a_tensorrt_without_its_libraries_is_one_sentence(monkeypatch) -> None:
    def broken(name):
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(to_tensorrt.importlib, "import_module", broken)
    with pytest.raises(runtime.NoProvider, match=r"tensorrt cannot be imported \(libnvinfer.*pip install"):
        to_tensorrt.modules()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--batch", "8", "4", "2"], 2, "batch (8, 4, 2): expected least, usual and largest"),
        (["--out", "a.plan"], 2, "ends in .engine"),
        (["--data", "gone"], 2, "data gone"),
    ],
)
def test_what_cannot_be_used_is_named(arguments, code, words, tmp_path: Path, capsys) -> None:
    assert to_tensorrt.main([str(artefacts.echo(tmp_path / "a.onnx")), *arguments]) == code
    assert words in capsys.readouterr().err


def test_an_engine_that_exists_stays(tmp_path: Path, capsys) -> None:
    path = artefacts.echo(tmp_path / "a.onnx")
    (tmp_path / "a.engine").write_bytes(b"precious")
    assert to_tensorrt.main([str(path)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "a.engine").read_bytes() == b"precious"


def test_no_artefact_is_exit_4(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.engine").write_bytes(b"ftrt")
    assert to_tensorrt.main([str(tmp_path / "a.engine")]) == 4
    assert "native code" in capsys.readouterr().err


@pytest.mark.parametrize(("precision", "found", "code"), [
    ("fp32", {"largest": 1, "ciede2000": 9.0}, 0),
    ("fp32", {"largest": 2, "ciede2000": 0.0}, 1),
    ("fp16", {"largest": 2, "ciede2000": 9.0}, 0),
    ("fp16", {"largest": 3, "ciede2000": 0.0}, 1),
    ("int8", {"largest": 99, "ciede2000": 0.99}, 0),
    ("int8", {"largest": 0, "ciede2000": 1.01}, 1),
    ("int8", {"largest": 0, "ciede2000": float("nan")}, 1),
])  # fmt: skip
def test_an_engine_is_written_only_within_the_bound_of_its_precision(
    precision: str, found: dict, code: int, tmp_path: Path, monkeypatch, capsys
) -> None:
    def mark(model):
        model.metadata_props.add(key="recolor_fast.precision", value=precision)

    path = artefacts.change(artefacts.echo(tmp_path / "a.onnx"), mark)
    whole = {"pictures": 1, "mean": 0.0, "psnr": 50.0} | found
    monkeypatch.setattr(to_tensorrt, "modules", stand_in)
    monkeypatch.setattr(to_tensorrt, "prove", lambda *_: ({"difference": whole, "gpu": "a GPU"}, b"engine"))
    assert to_tensorrt.main([str(path)]) == code
    written = {file.name for file in tmp_path.iterdir()} - {"a.onnx"}
    assert written == (set() if code else {"a.engine", "a.engine.json", "a.engine.md"})
    if not code:
        assert (tmp_path / "a.engine").read_bytes() == b"engine"
        assert json.loads((tmp_path / "a.engine.json").read_text())["difference"] == whole
        assert capsys.readouterr().out == f"{tmp_path / 'a.engine'}\n"


def test_the_whole_way_with_a_stand_in_for_the_gpu(tmp_path: Path, monkeypatch, capsys) -> None:
    """All but TensorRT and CUDA themselves: torch's CUDA calls are answered by the CPU."""
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    write_jpegs(tmp_path / "photographs", 3, height=70, width=90)
    trt, random = stand_in(), torch.randint
    event = SimpleNamespace(record=lambda: None, elapsed_time=lambda end: 2.0)
    for name, value in {
        "Stream": lambda: SimpleNamespace(cuda_stream=7),
        "stream": lambda stream: nullcontext(),
        "Event": lambda enable_timing: event,
        "synchronize": lambda: None,
        "get_device_capability": lambda: (9, 0),
        "get_device_name": lambda: "a GPU",
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    monkeypatch.setattr(torch, "randint", lambda *args, device, **kwargs: random(*args, **kwargs))
    monkeypatch.setattr(to_tensorrt, "modules", lambda: trt)
    path = artefacts.constant(tmp_path / "a.onnx")
    arguments = [str(path), "--data", str(tmp_path / "photographs")]
    assert to_tensorrt.main(arguments) == 0
    told = json.loads((tmp_path / "a.engine.json").read_text())
    assert proof.Proof(**told["difference"]) == (told["difference"]["pictures"], 0, 0, 0, 100)
    assert (told["gpu"], told["compute_capability"], told["versions"]["tensorrt"]) == ("a GPU", "9.0", "11.0.0")
    assert (told["ms_of_batch_1"], told["images_per_s_of_batch_32"]) == (2.0, 32 * 500.0)
    assert (tmp_path / "a.engine").read_bytes().endswith(path.read_bytes())
    (timing,) = (tmp_path / "cache" / "tensorrt").iterdir()
    assert timing.read_bytes() == b"+"
    assert to_tensorrt.main([*arguments, "--overwrite"]) == 0
    assert timing.read_bytes() == b"++"  # the second engine was built with the first one's timings
    assert "images_per_s" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize("make", [artefacts.constant, artefacts.echo])
def test_an_engine_on_a_gpu_is_proven_timed_and_written(make, tmp_path: Path, monkeypatch) -> None:
    if not importlib.util.find_spec("tensorrt"):
        pytest.skip("needs the package tensorrt")
    monkeypatch.setenv("RECOLOR_FAST_CACHE", str(tmp_path / "cache"))
    path = make(tmp_path / "a.onnx")
    assert to_tensorrt.main([str(path)]) == 0
    told = json.loads((tmp_path / "a.engine.json").read_text())
    assert told["difference"]["largest"] <= 1
    assert to_tensorrt.main([str(path), "--overwrite"]) == 0  # with its timings
