"""The HTTP API of `serve`, as programs meet it."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from recolor_fast.photographs import images
from recolor_fast.serve import work
from recolor_fast.serve.app import application
from tests import photographs

ORIGIN = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def models() -> dict[str, work.Model]:
    return work.models(threads=1)


@pytest.fixture
def client(models) -> Iterator[TestClient]:
    with TestClient(application(work.Work(models)), base_url=ORIGIN) as client:
        yield client


def gray_jpeg(seed: int = 0, height: int = 60, width: int = 80) -> bytes:
    file = io.BytesIO()
    Image.fromarray(images.gray(photographs.pixels(seed, height, width))).save(file, "JPEG", quality=95)
    return file.getvalue()


def test_raw_bytes_come_back_colored(client):
    sent = gray_jpeg()
    answer = client.post("/color", content=sent)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    before, after = images.read_rgb(sent), images.read_rgb(answer.content)
    assert np.abs(images.gray(after).astype(int) - before[..., 0]).max() <= 6  # two JPEGs apart
    assert np.ptp(after.astype(int), axis=2).mean() > 1
