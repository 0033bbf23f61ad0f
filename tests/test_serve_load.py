"""Many photographs at a time: nothing lost, nothing mixed up, memory bounded."""

import asyncio
import http.client
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from recolor_fast.photographs import images
from recolor_fast.serve import colorizers, work
from recolor_fast.serve.app import application
from tests.serving import file_of, gray_photograph, served


def within(own: work.Work, job: Callable[[], Awaitable[Any]]) -> Any:
    """What a job in an event loop gives; the work is closed then and holds nothing."""

    async def run() -> Any:
        try:
            return await asyncio.wait_for(job(), 120)
        finally:
            await own.close()

    result = asyncio.run(run())
    assert (own.jobs, own.pixels) == (0, 0)
    return result


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


# --- batches -------------------------------------------------------------------------------------------------------


def test_what_waits_goes_through_the_model_together(models, monkeypatch):
    own, sizes, go_on = work.Work(models), [], threading.Event()
    predict = colorizers.predicted

    def watched(artefact: object, batch: Sequence[colorizers.Seen]) -> list:
        sizes.append(len(batch))
        assert go_on.wait(60)
        return predict(artefact, batch)

    monkeypatch.setattr(colorizers, "predicted", watched)
    grays = [gray_photograph(seed) for seed in range(10)]

    async def job() -> list[np.ndarray]:
        first = asyncio.create_task(own.chroma(grays[0], colorizers.SHIPPED))
        await until(lambda: sizes == [1])
        others = [asyncio.create_task(own.chroma(gray, colorizers.SHIPPED)) for gray in grays[1:]]
        await until(lambda: len(own._seen) == 9)
        go_on.set()
        return [await task for task in (first, *others)]

    found = within(own, job)
    assert sizes == [1, colorizers.BATCH[False], colorizers.BATCH[False], 1]
    for gray, cbcr in zip(grays, found):
        alone = models[colorizers.SHIPPED].plain.chroma(gray)
        assert np.abs(cbcr.astype(int) - alone).max() <= 1


def test_batches_are_of_one_model_and_hints_stay_with_their_photograph(models):
    own = work.Work(models)
    gray = gray_photograph()
    red, none = [work.Hint(40, 30, "#e02020", 40)], []

    async def job() -> list[np.ndarray]:
        return await asyncio.gather(*(own.chroma(gray, colorizers.SHIPPED, hints) for hints in (red, none, red, none)))

    found = within(own, job)
    model = models[colorizers.SHIPPED]
    for cbcr, alone in zip(found, (model.following.chroma(gray, red), model.plain.chroma(gray)) * 2):
        assert np.abs(cbcr.astype(int) - alone).max() <= 1


def test_one_that_fails_in_a_batch_leaves_the_others(models, monkeypatch):
    class Failing:
        """A session that fails where a photograph is black."""

        def run(self, names: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
            if any(not gray.any() for gray in feeds["gray"]):
                raise RuntimeError("out of memory")
            return [np.full((len(feeds["gray"]), 2, 4, 4), 7, np.uint8)]

    artefact = models[colorizers.SHIPPED].plain._replace(session=Failing())
    size = artefact.options.size
    batch = [colorizers.Seen(artefact, np.full((size, size), value, np.uint8), None) for value in (1, 0, 2)]
    first, second, third = colorizers.predicted(artefact, batch)
    assert isinstance(second, RuntimeError)
    assert first.max() == third.max() == 7


# --- room ----------------------------------------------------------------------------------------------------------


def test_room_is_never_exceeded_but_by_one_that_is_larger_than_all_of_it(models, monkeypatch):
    monkeypatch.setattr(work, "PIXELS", 50)  # for two threads: 100 in all
    own, seen = work.Work(models, work.Limits(threads=2)), []

    def note(pixels: float) -> float:
        seen.append((pixels, own.pixels))
        return pixels

    wanted = [30, 30, 60, 100, 10, 250, 40, 0, 90, 20]

    async def job() -> list[float]:
        return await asyncio.gather(*(own.run(note, pixels, pixels=pixels, patient=True) for pixels in wanted))

    assert within(own, job) == wanted
    assert all(held <= 100 for pixels, held in seen if pixels != 250 and pixels)
    assert (250, 250) in seen
    assert sorted(pixels for pixels, _ in seen) == sorted(wanted)


def test_more_processors_do_not_take_more_and_more_memory(models):
    rooms = [work.Work(models, work.Limits(threads=threads))._room for threads in (1, 2, 4, 64)]
    assert rooms == [64 * 10**6, 64 * 10**6, 128 * 10**6, 128 * 10**6]


def test_who_leaves_gives_back_place_and_room(models):
    own, go_on = work.Work(models, work.Limits(threads=1)), threading.Event()

    async def job() -> None:
        full = own._room
        first = asyncio.create_task(own.run(go_on.wait, 60, pixels=full))
        second = asyncio.create_task(own.run(go_on.wait, 60, pixels=full))
        third = asyncio.create_task(own.run(lambda: "done", pixels=full))
        await until(lambda: own.jobs == 3 and len(own._line) == 2)
        second.cancel()
        first.cancel()
        await until(second.done)
        assert own.pixels == full  # a thread cannot be left: its memory is in use
        go_on.set()
        assert await third == "done"

    within(own, job)


def test_the_patient_wait_and_the_others_are_refused(models):
    own, go_on = work.Work(models, work.Limits(queue=1)), threading.Event()

    async def job() -> None:
        first = asyncio.create_task(own.run(go_on.wait, 60))
        await until(lambda: own.jobs == 1)
        with pytest.raises(work.Full, match="1 photographs are waiting"):
            await own.run(lambda: None)
        patient = asyncio.create_task(own.run(lambda: "done", patient=True))
        go_on.set()
        assert await patient == "done"
        await first
        await own.run(lambda: None)

    within(own, job)


def test_work_that_is_closed_drops_what_waits(models):
    own = work.Work(models, work.Limits(threads=1))

    async def job() -> None:
        tasks = [asyncio.create_task(own.run(lambda: None, pixels=own._room, patient=True)) for _ in range(5)]
        chroma = asyncio.create_task(own.chroma(gray_photograph(), colorizers.SHIPPED))
        await asyncio.sleep(0)
        await own.close()
        for task in (*tasks, chroma):
            with pytest.raises(work.Stopping):
                await task
        with pytest.raises(work.Stopping):
            await own.run(lambda: None)

    within(own, job)


# --- many clients --------------------------------------------------------------------------------------------------


def sent(port: int, data: bytes, query: str = "") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=600)) as client:
        client.request("POST", f"/color{query}", data)
        answer = client.getresponse()
        return answer.status, answer.read()


def test_many_at_a_time_are_all_answered_each_with_its_own(models):
    own = work.Work(models)
    grays = [np.clip(gray_photograph(seed, 300, 400) // 2 + 6 * seed, 0, 255).astype(np.uint8) for seed in range(20)]
    with served(application(own)) as port, ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda gray: sent(port, file_of(gray, "PNG"), "?format=PNG"), grays))
    assert [status for status, _ in answers] == [200] * 20
    for gray, (_, data) in zip(grays, answers):
        assert np.abs(images.gray(images.read_rgb(data)).astype(int) - gray).max() <= 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read another process's memory from")
def test_fifty_photographs_of_12_megapixels_at_a_time_take_less_than_2_gigabytes(tmp_path):
    random = np.random.default_rng(0)
    base = cv2.resize(random.integers(0, 256, (300, 400), np.uint8), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    noise = random.integers(-12, 13, base.shape)

    def photograph(number: int) -> bytes:
        gray = np.clip(base.astype(int) // 2 + noise + 2 * number, 0, 255).astype(np.uint8)
        rgb = np.dstack([gray] * 3)
        return cv2.imencode(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()

    photographs = [photograph(number) for number in range(50)]
    command = [sys.executable, "-m", "recolor_fast.serve", "--port", "0", "--state", str(tmp_path / "state")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
            with ThreadPoolExecutor(50) as pool:
                answers = list(pool.map(lambda data: sent(port, data), photographs))
            status = Path(f"/proc/{server.pid}/status").read_text()
        finally:
            server.send_signal(signal.SIGTERM)
    assert server.returncode == 143
    assert [code for code, _ in answers] == [200] * 50
    for data, (_, answer) in zip(photographs, answers):
        before, after = (images.gray(images.read_rgb(one, 256)).astype(int) for one in (data, answer))
        assert before.shape == after.shape
        assert np.abs(before - after).mean() < 1
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])
    assert peak < 2 * 2**20
