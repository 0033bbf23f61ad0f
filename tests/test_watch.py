"""What watches a training beside it: loggers and results.png. They get all of it, and never hold it up or end it."""

import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from recolor_fast import train
from recolor_fast.machine import signals
from recolor_fast.machine.errors import UserError
from recolor_fast.options import Command
from recolor_fast.runs import beside, curves, loggers, watch
from recolor_fast.runs.beside import Beside
from tests.photographs import write_jpegs
from tests.trainings import arguments, rows, run

REAL = watch.draw  # tests have another, see conftest.py


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Twelve, of which one is validated on."""
    folder = tmp_path_factory.mktemp("photographs")
    write_jpegs(folder, 12, height=80, width=96)
    return folder


def events(folder: Path):
    """What TensorBoard finds in a run folder."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulators.EventAccumulator(str(folder))
    found.Reload()
    return found


def test_tensorboard_has_each_row_once_though_the_run_was_resumed(photographs, tmp_path):
    more = ("--preset", "pix2pix", "--name", "r", "--save-every", 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.Session, "log", _killed_at(11, train.Session.log))
        with pytest.raises(RuntimeError, match="killed"):
            train.main(arguments(photographs, tmp_path, *more, "--log-every", 1))
    assert train.main(arguments(photographs, tmp_path, *more, "--log-every", 1, "--resume")) == 0
    found = events(tmp_path / "r")
    for name in ("generator/l1", "gradient/l1", "images_per_s", "data_wait", "learning_rate", "memory"):
        assert [event.step for event in found.Scalars(name)] == list(range(1, 13)), name
    written = [float(row["generator/l1"]) for row in rows(tmp_path / "r")]
    assert [event.value for event in found.Scalars("generator/l1")] == pytest.approx(written, rel=1e-5)
    validated = [float(row["ab_rmse"]) for row in rows(tmp_path / "r", "validation.csv")]
    assert [event.value for event in found.Scalars("validation/ab_rmse")] == pytest.approx(validated, rel=1e-5)
    with Image.open(tmp_path / "r" / "samples" / "000000012.png") as sheet:
        last = found.Images("samples")[-1]
        assert (last.step, last.width, last.height) == (12, *sheet.size)
    assert '"preset": "pix2pix"' in found.Tensors("options/text_summary")[0].tensor_proto.string_val[0].decode()


def _killed_at(images: int, log):
    def logged(session) -> None:
        log(session)
        if session.progress.images == images:
            raise RuntimeError("killed")

    return logged


def test_the_loss_scales_of_float16_are_logged(photographs, tmp_path):
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--amp", "--amp-dtype", "float16", "--images", 2)
    scales = {name: float(value) for name, value in rows(tmp_path / "r")[0].items() if name.startswith("loss_scale/")}
    assert set(scales) == {"loss_scale/generator", "loss_scale/critic"}
    assert all(scale >= 1 for scale in scales.values())


@pytest.mark.parametrize("fails", ["start", "scalars"])
def test_a_logger_that_fails_ends_no_training(photographs, tmp_path, capsys, monkeypatch, fails):
    class Broken:
        where = ""

        def __init__(self, *started) -> None:
            if fails == "start":
                sys.exit("no network")

        def scalars(self, values, images) -> None:
            raise OSError("no network")

        picture = scalars

    monkeypatch.setitem(loggers.LIBRARIES, "tensorboard", loggers.Library(("os",), Broken))
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--images", 6)
    warned = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: --log")]
    kind = {"start": "SystemExit", "scalars": "OSError"}[fails]
    assert warned == [
        f"warning: --log tensorboard failed, nothing more goes there, the training goes on ({kind}: no network)"
    ]
    assert len(rows(tmp_path / "r")) == 3


def test_a_logger_is_imported_once_an_iteration_is_done(tmp_path, monkeypatch):
    begun = threading.Event()
    monkeypatch.setitem(
        loggers.LIBRARIES, "tensorboard", loggers.Library(("os",), lambda *started: begun.set() or sys.exit("enough"))
    )
    said: list[str] = []
    watched = watch.Watch(tmp_path, Command(log=("tensorboard",)), 0, said.append)
    assert not begun.wait(0.05)
    watched.begin()
    assert begun.wait(60)
    watched.leave()
    assert len(said) == 1


def test_a_logger_is_not_begun_for_a_training_that_fails_before(tmp_path, monkeypatch):
    begun: list[tuple] = []
    monkeypatch.setitem(
        loggers.LIBRARIES, "tensorboard", loggers.Library(("os",), lambda *started: begun.append(started))
    )
    said: list[str] = []
    for told in (False, True):
        watched = watch.Watch(tmp_path, Command(log=("tensorboard",)), 0, said.append)
        if told:
            watched.numbers({"images": 2, "time": 1, "loss": 0.5})
        watched.leave()
        watched.feeds[0].thread.join(60)
        assert (len(begun), said) == (told, [])


def test_a_logger_that_hangs_is_left():
    said: list[str] = []
    hangs = threading.Event()
    feed = watch.Feed("wandb", hangs.wait, said.append)
    feed.close(0.05)
    assert len(said) == 1
    assert said[0].startswith("warning: --log wandb is not done 0 s after the end and is waited for no longer")
    hangs.set()
    feed.thread.join(60)


@pytest.mark.parametrize("name", loggers.LIBRARIES)
def test_a_library_that_is_missing_is_one_line_with_what_to_type(name, capsys, monkeypatch, tmp_path, photographs):
    monkeypatch.setattr(loggers, "find_spec", lambda module: None)
    assert train.main(arguments(photographs, tmp_path, "--log", name)) == 2
    said = capsys.readouterr().err
    install = {"tensorboard": "[train]"}.get(name, f"pip install {name}")
    assert said.startswith(f"error: log {name}: {name}")
    assert install in said
    assert said.count("\n") == 1
    assert list(tmp_path.glob("*-1")) == []


def test_auto_is_tensorboard_where_it_is_installed(capsys, monkeypatch):
    assert loggers.decided(("auto",)) == ("tensorboard",)
    assert loggers.decided(("none",)) == ("none",)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(loggers, "find_spec", lambda module: None)
    assert loggers.decided(("auto",)) == ("none",)
    assert "tensorboard is not installed; " in capsys.readouterr().err
    for wrong in ((), ("none", "wandb"), ("wandb", "wandb"), ("auto", "mlflow")):
        with pytest.raises(UserError, match="each once"):
            Command(log=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", loggers.LIBRARIES)
def test_each_logger_takes_a_run_and_goes_on_with_it(name, tmp_path, monkeypatch):
    if reason := loggers.missing(name):
        pytest.skip(reason)
    for variable in ("WANDB_MODE", "TRACKIO_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    Image.new("RGB", (8, 8)).save(tmp_path / "sheet.png")
    for begun in (0, 2):
        start = partial(Beside, name) if loggers.LIBRARIES[name].apart else loggers.LIBRARIES[name].start
        logger = start(tmp_path, Command(), begun)
        logger.scalars({"generator/l1": 0.5}, begun + 2)
        logger.picture(tmp_path / "sheet.png", begun + 2)
        logger.close()
    kept = {"tensorboard": "events*", "trackio": "trackio/*.db", "wandb": "wandb/*run-*", "mlflow": "mlflow.db"}
    assert list(tmp_path.glob(kept[name]))


TRACKIO = """
import os, pathlib, signal, time
PLACE = pathlib.Path(os.environ["TRACKIO_DIR"])  # once a process, as the real one
class Image(str):
    pass
class Run:
    def log(self, values, step):
        print("a library's chatter")
        if "raises" in values:
            raise OSError("no network")
        if "dies" in values:
            os.kill(os.getpid(), signal.SIGKILL)
        with open(PLACE / "log", "a") as file:
            print(step, *values, file=file)
    def finish(self):
        print("a library's chatter")
        if PLACE.parent.name == "hangs":
            time.sleep(600)
def init(project, name, config, **how):
    if config["seed"] == 9:
        raise SystemExit("not with this seed")
    if PLACE.parent.name == "never":
        time.sleep(600)
    return Run()
"""


def test_a_logger_in_a_process_of_its_own_writes_to_each_run_and_its_failures_are_warnings(
    tmp_path, monkeypatch, capfd
):
    (tmp_path / "trackio.py").write_text(TRACKIO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    monkeypatch.setattr(watch, "WAIT", 300.0)  # a busy machine takes its time to start processes
    said: dict[str, list[str]] = {name: [] for name in ("well", "raises", "dies", "begins", "closed")}
    watched = {}
    for name, lines in said.items():
        (tmp_path / name).mkdir()
        if name == "closed":
            (tmp_path / name / "trackio").touch()  # no folder can be made there
        options = Command(log=("trackio",), seed=9 if name == "begins" else 0)
        watched[name] = watch.Watch(tmp_path / name, options, 0, lines.append)
    Image.new("RGB", (8, 8)).save(tmp_path / "sheet.png")
    for name, one in watched.items():
        one.numbers({"images": 2, "time": 1, name: 0.5})
        one.sheet(tmp_path / "sheet.png", 2)
    for one in watched.values():
        one.close()
    assert (tmp_path / "well" / "trackio" / "log").read_text() == "2 well\n2 samples\n"
    assert not list(tmp_path.glob("[rdb]*/trackio/*"))
    failed = "warning: --log trackio failed, nothing more goes there, the training goes on"
    shown = {name: f"--log trackio: TRACKIO_DIR={tmp_path / name / 'trackio'} trackio show" for name in said}
    assert [line.startswith(shown["well"]) for line in said["well"]] == [True]
    assert said["raises"][1:] == [f"{failed} (OSError: no network)"]
    assert said["dies"][1:] == [f"{failed} (its process was ended by SIGKILL)"]
    assert said["begins"] == [f"{failed} (SystemExit: not with this seed)"]
    closed = f"{tmp_path / 'closed' / 'trackio'}: File exists; let $TRACKIO_DIR be a folder that can be written"
    assert said["closed"] == [f"{failed} ({closed})"]
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def stub(tmp_path, monkeypatch) -> Path:
    """A folder with three for runs, in which Trackio is the one above."""
    (tmp_path / "trackio.py").write_text(TRACKIO)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("TRACKIO_DIR", raising=False)
    for name in ("well", "hangs", "never"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.mark.skipif(os.name != "posix", reason="no groups of processes")
def test_what_stops_the_training_stops_no_logger(stub):
    logger = Beside("trackio", stub / "well", Command(), 0)
    assert os.getpgid(logger.process.pid) == logger.process.pid  # not of the training's group
    for number in signals.NUMBERS:
        os.kill(logger.process.pid, number)
    logger.scalars({"loss": 0.5}, 2)
    logger.close()
    assert (stub / "well" / "trackio" / "log").read_text() == "2 loss\n"


def test_of_a_logger_that_hangs_nothing_stays(stub, monkeypatch):
    monkeypatch.setattr(beside, "REST", 0.1)
    made: list[Beside] = []
    said: list[str] = []

    def start() -> Beside:
        made.append(Beside("trackio", stub / "hangs", Command(), 0))
        return made[0]

    feed = watch.Feed("trackio", start, said.append)
    feed.close(0.0)
    feed.thread.join(300)
    assert not feed.thread.is_alive()
    assert made[0].process.returncode == 1
    assert made[0].log.closed
    assert len(said) == 1  # that nobody waits for it
    monkeypatch.setattr(beside, "BEGIN", 0.1)
    with pytest.raises(beside.Failed, match="it has not begun in 0 s"):
        Beside("trackio", stub / "never", Command(), 0)


def test_passwords_in_addresses_are_not_told():
    said: list[str] = []
    address = "https://me:secret@host:5000/a@b"

    def fail(*told) -> None:
        raise OSError(f"no answer from {address}")

    feed = watch.Feed("mlflow", lambda: SimpleNamespace(where=address, scalars=fail), said.append)
    feed.put(lambda logger: logger.scalars({}, 1))
    feed.thread.join(60)
    assert said[0] == "--log mlflow: https://host:5000/a@b"
    assert said[1].endswith("(OSError: no answer from https://host:5000/a@b)")


def test_a_training_that_is_stopped_waits_neither_for_a_logger_nor_for_the_picture(tmp_path, monkeypatch):
    hangs = threading.Event()
    monkeypatch.setitem(
        loggers.LIBRARIES, "tensorboard", loggers.Library(("os",), lambda *started: hangs.wait() and None)
    )
    slow = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, stderr=-1, text=True)
    monkeypatch.setattr(watch, "draw", lambda folder, *words: slow)
    monkeypatch.setattr(watch, "HURRY", 0.05)
    said: list[str] = []
    watched = watch.Watch(tmp_path, Command(log=("tensorboard",)), 0, said.append)
    watched.begin()
    watched.saved()
    watched.leave()
    assert len(said) == 1
    assert slow.poll() is None
    hangs.set()
    watched.feeds[0].thread.join(60)
    slow.communicate("\n")


# --- results.png ---------------------------------------------------------------------------------------------------


def test_results_png_is_drawn_at_each_save_and_at_the_end(photographs, tmp_path, monkeypatch):
    begun = []

    def draw(folder: Path, *words: str):
        begun.append(words)
        return REAL(folder, *words) if not words else subprocess.Popen([sys.executable, "-c", ""], stderr=-1, text=True)

    monkeypatch.setattr(watch, "draw", draw)
    monkeypatch.setattr(watch, "WAIT", 300.0)  # a busy machine takes its time to draw
    run(photographs, tmp_path, "--preset", "pix2pix", "--name", "r", "--log", "none")
    assert begun[0] == ("idle",)
    assert 2 <= len(begun) <= 4
    if begun[-1] == ():  # the last one was not drawn yet
        with Image.open(tmp_path / "r" / curves.NAME) as picture:
            assert picture.format == "PNG"


def test_a_picture_that_is_due_is_drawn_though_another_was_at_work(tmp_path, monkeypatch):
    begun: list[str] = []

    def draw(folder: Path, *words: str):
        begun.append(" ".join(words))
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)" if words else ""], stderr=-1)

    monkeypatch.setattr(watch, "draw", draw)
    picture = watch.Picture(tmp_path, pytest.fail)
    picture.ask()
    picture.ask()
    picture.go_on()
    assert begun == ["idle"]
    picture.close()
    assert begun == ["idle", ""]


@pytest.mark.parametrize("how", ["exits", "cannot start"])
def test_a_picture_that_cannot_be_drawn_is_one_warning(tmp_path, monkeypatch, how):
    def draw(folder: Path, *words: str):
        if how == "cannot start":
            raise OSError("no processes left")
        return subprocess.Popen([sys.executable, "-c", "raise SystemExit('no font')"], stderr=-1, text=True)

    monkeypatch.setattr(watch, "draw", draw)
    said: list[str] = []
    for _ in range(2):
        picture = watch.Picture(tmp_path, said.append)
        picture.ask()
        picture.close()
        picture.ask()
        picture.close()
    reason = {"exits": "no font", "cannot start": "no processes left"}[how]
    assert said == [f"warning: {tmp_path / 'results.png'} could not be drawn, the training goes on ({reason})"] * 2
