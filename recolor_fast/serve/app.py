"""The web application of `serve`: the page's files, the API, and how errors are told."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from recolor_fast.photographs import images, samples
from recolor_fast.serve import color, desk_routes, health
from recolor_fast.serve.desk import Desks
from recolor_fast.serve.guard import Guard, Rules
from recolor_fast.serve.metrics import Metrics
from recolor_fast.serve.work import AGAIN, Full, Late, Stopping, Work

PAGE = Path(__file__).parents[1] / "page"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
UNDER = {"/": "index.html", "/backend.js": "server.js"}  # addresses of files by other names
STATUS = {
    MemoryError: 503,
    Full: 429,
    Late: 503,
    Stopping: 503,
    samples.TooManyPixels: 413,
    images.UnreadableImage: 415,
}
LATER = (429, 503)  # of STATUS: a client may try again


RULES = Rules()


def application(work: Work, rules: Rules = RULES, desks: Desks | None = None) -> ASGIApp:
    """The web application over some work, guarded; without desks it colors and keeps nothing. It closes the work when
    it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await work.close()

    app = FastAPI(
        title="recolor_fast",
        description="Colors photographs. The colors are a model's guesses.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    metrics = Metrics(work)
    kept = [] if desks is None else [desk_routes.router(desks, work)]
    for routes in (color.router(work), health.router(work), metrics.router(), *kept):
        app.include_router(routes)
    _add_page(app)
    for error, status in STATUS.items():
        app.add_exception_handler(error, _teller(status))
    app.add_exception_handler(RequestValidationError, _bad_value)
    app.add_exception_handler(ClientDisconnect, _left)
    return metrics.counted(Guard(app, rules))


# --- the page's files ----------------------------------------------------------------------------------------------


def _add_page(app: FastAPI) -> None:
    """Routes to the files that are there now, each under its own name: no path of a request is ever looked up."""
    files = {f"/{path.relative_to(PAGE).as_posix()}": path for path in PAGE.rglob("*") if path.suffix in TYPES}
    files |= {address: PAGE / name for address, name in UNDER.items() if (PAGE / name).is_file()}
    for address, path in files.items():
        app.add_api_route(address, _giver(path.read_bytes(), TYPES[path.suffix]), include_in_schema=False)


def _giver(data: bytes, media: str) -> Callable[[Request], Awaitable[Response]]:
    headers = {"ETag": f'"{hashlib.sha256(data).hexdigest()[:32]}"', "Cache-Control": "no-cache"}

    async def give(request: Request) -> Response:
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=media, headers=headers)

    return give


# --- errors --------------------------------------------------------------------------------------------------------


def _teller(status: int) -> Callable[[Request, Exception], Awaitable[Response]]:
    headers = {"Retry-After": str(AGAIN)} if status in LATER else None

    async def tell(request: Request, error: Exception) -> Response:
        return JSONResponse({"detail": str(error) or "there is not enough memory for it"}, status, headers)

    return tell


async def _bad_value(request: Request, error: Exception) -> Response:
    """The first wrong value, in a sentence."""
    assert isinstance(error, RequestValidationError)
    found: dict[str, Any] = error.errors()[0]
    places = [str(place) for place in found["loc"][1:]]  # the first says where: in the query, in the body
    value = f" {found['input']!r}"[:80] if isinstance(found.get("input"), str | int | float) else ""
    return JSONResponse({"detail": f"{'.'.join(places)}{value}: {found['msg']}"}, 422)


async def _left(request: Request, error: Exception) -> Response:
    return Response(status_code=color.GONE)
