"""Connections of uvicorn that nobody can hold for nothing: time limits of what it waits for without one."""

import asyncio
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD = 10.0  # seconds for a request's head, from the connection or the first byte on
STALLED = 60.0  # seconds in which a client has to read what fits into the system's buffers
STOPPING = 3.0  # seconds that requests get when the server stops
CONNECTIONS = 256  # at a time; more are told 503


class Connection(H11Protocol):
    """A connection that is dropped where a request's head, or the reading of an answer, takes too long."""

    head_seconds, stalled_seconds, stopping_seconds = HEAD, STALLED, STOPPING
    _head: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head = _cancelled(self._head)
        self._stalled = _cancelled(self._stalled)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.stalled_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._stalled = _cancelled(self._stalled)
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():  # once the client has read it
            self.loop.call_later(self.stalled_seconds, self.transport.abort)

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(self.stopping_seconds, self.transport.abort)

    def _await_head(self) -> None:
        """Start the clock where a head is being waited for, and stop it where one is there."""
        if self.conn.their_state is not h11.IDLE:
            self._head = _cancelled(self._head)
        elif self._head is None:
            self._head = self.loop.call_later(self.head_seconds, self.transport.abort)


def settings(app: ASGIApp, connection: type[Connection] = Connection) -> uvicorn.Config:
    """How uvicorn serves an application: without words but for bugs, behind nothing that it would have to trust."""
    return uvicorn.Config(
        app,
        http=connection,
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=10,
    )


def _cancelled(timer: asyncio.TimerHandle | None) -> Any:
    if timer is not None:
        timer.cancel()
    return None
