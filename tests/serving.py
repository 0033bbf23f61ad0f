"""Servers and photographs for the tests of `serve`."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import uvicorn
from PIL import Image
from starlette.types import ASGIApp

from recolor_fast.photographs import images
from recolor_fast.serve.connection import Connection, settings
from tests import photographs

ORIGIN = "http://127.0.0.1:8765"


def file_of(pixels: np.ndarray, format: str = "JPEG", **more: object) -> bytes:
    """An image file of these pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **more)
    return file.getvalue()


def color_photograph(seed: int = 0, height: int = 60, width: int = 80) -> np.ndarray:
    return photographs.pixels(seed, height, width)


def gray_photograph(seed: int = 0, height: int = 60, width: int = 80) -> np.ndarray:
    return images.gray(photographs.pixels(seed, height, width))


class Hasty(Connection):
    """A connection with short limits."""

    head_seconds, stalled_seconds, stopping_seconds = 0.3, 0.3, 0.2

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.timeout_keep_alive = 0.3


@contextmanager
def served(app: ASGIApp, connection: type[Connection] = Hasty) -> Iterator[int]:
    """The application behind real sockets of 127.0.0.1, in a thread; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)  # so that who does not read is soon noticed
        server = uvicorn.Server(settings(app, connection))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            until = time.monotonic() + 60
            while not server.started and time.monotonic() < until:
                time.sleep(0.01)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


def exchange(port: int, sent: bytes, seconds: float = 60) -> bytes:
    """What the server answers to these bytes until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as client:
        client.sendall(sent)
        found = b""
        while part := client.recv(65536):
            found += part
        return found
