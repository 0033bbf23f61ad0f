"""The desk over HTTP: what the page asks for and sends, each visitor known by a cookie alone."""

import asyncio
import hashlib
import re
import secrets
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path as File
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Cookie, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from recolor_fast.artefact import hints
from recolor_fast.photographs import formats, images, libraries, opening
from recolor_fast.photographs.chroma import LOOK
from recolor_fast.serve import names
from recolor_fast.serve.color import RESPONSES, Sent, binary, problem, stored
from recolor_fast.serve.desk import Busy, Desks, Gone, NoRoom
from recolor_fast.serve.facts import VERSION, Photograph
from recolor_fast.serve.painter import NotReady, Painter
from recolor_fast.serve.work import AGAIN, MEDIA, Work
from recolor_fast.serve.zipped import zipped

COOKIE = "desk"
GIVEN = re.compile(r"[A-Za-z0-9_-]{43}")  # cookies that come from here
SENT = re.compile(r"(?:application/octet-stream|image/[^;]+)(?:;.*)?", re.IGNORECASE)  # types of a photograph's bytes
DAYS = 90
BLOCK = 2**20  # bytes that are written to the disk at a time

Key = Annotated[str, Cookie(alias=COOKIE, include_in_schema=False)]
Id = Annotated[str, Path(pattern="^[0-9a-f]{16}$")]


Responses = dict[int | str, dict[str, Any]]
COMMON: Responses = {status: RESPONSES[status] for status in (400, 401, 403, 408, 413, 422)}
NONE: Responses = {404: problem("No such photograph on this desk.")}
PAINTED: Responses = COMMON | NONE | {409: problem("The photograph is not colored, or not yet, and why.")}
WORKED: Responses = PAINTED | {status: RESPONSES[status] for status in (415, 429, 503)}
NO_COOKIE: Responses = {428: problem("There is no cookie, by which photographs are found again.")}
NO_ROOM: Responses = {507: problem("No room on the desk, for another desk or on the disk.")}
BODY = {"required": True, "content": dict.fromkeys(("application/octet-stream", "image/*"), binary)}


def given(*types: str) -> Responses:
    """The entry of OpenAPI's responses for bytes of these media types."""
    return {200: {"description": "The bytes.", "content": dict.fromkeys(types, binary)}}


class Look(BaseModel):
    """What of a look is to change."""

    model_config = ConfigDict(extra="forbid", strict=True)

    saturation: float | None = Field(None, ge=0, le=4, allow_inf_nan=False)
    warmth: float | None = Field(None, ge=-1, le=1, allow_inf_nan=False)
    strength: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    keep_tone: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)


class Hint(BaseModel):
    """A color at a place of the upright photograph."""

    model_config = ConfigDict(extra="forbid", strict=True)

    x: float = Field(ge=0, lt=2**31, description="Pixels from the left edge.")
    y: float = Field(ge=0, lt=2**31, description="Pixels from the top edge.")
    color: str = Field(pattern="^#[0-9a-fA-F]{6}$")
    radius: float | None = Field(
        None, ge=0, lt=2**31, description="Pixels around the place that surely have this color."
    )


class Change(BaseModel):
    """What is to change of a photograph."""

    model_config = ConfigDict(extra="forbid", strict=True)

    look: Look | None = None
    hints: list[Hint] | None = Field(None, max_length=hints.MOST)
    model: str | None = Field(None, max_length=255)
    restore: bool | None = Field(None, description="Whether the tones of a faded print are stretched first.")
    negative: bool | None = Field(None, description="Whether it is a negative, which is inverted first.")


class Shown(BaseModel):
    """A photograph on a desk."""

    id: str
    name: str
    status: Literal["waiting", "working", "ready", "failed"]
    reason: str
    notes: list[str]
    width: int
    height: int
    in_color: bool
    toned: bool
    size: int
    model: str
    look: dict[str, float]
    hints: list[Hint]
    revision: int
    restore: bool
    negative: bool
    curve: list[list[float]]


def shown(photograph: Photograph) -> Shown:
    look = {name: photograph.look.get(name, getattr(LOOK, name)) for name in Look.model_fields}
    points = [Hint(**hint._asdict()) for hint in photograph.hints]
    values = {name: getattr(photograph, name) for name in Shown.model_fields}
    return Shown.model_validate(values | {"look": look, "hints": points, "notes": list(photograph.notes)})


@contextmanager
def told() -> Iterator[None]:
    """What the desk refuses, as answers."""
    try:
        yield
    except Gone:
        raise HTTPException(404, "there is no such photograph on this desk") from None
    except NotReady as error:
        raise HTTPException(409, str(error)) from error
    except NoRoom as error:
        raise HTTPException(507, str(error)) from error
    except Busy as error:
        raise HTTPException(429, str(error), {"Retry-After": str(AGAIN)}) from error
    except images.UnreadableImage:
        raise
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


def _fallen(task: asyncio.Task[None]) -> None:
    """Say what ended the coloring of what waits: a bug."""
    if not task.cancelled() and (error := task.exception()):
        traceback.print_exception(error)


def folder_of(cookie: str) -> str:
    """The key of a visitor's desk."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def router(desks: Desks, work: Work) -> APIRouter:
    """The routes of a server's desks. While the application runs, what waits on them is colored."""
    painter = Painter(desks, work)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(painter.run())
        task.add_done_callback(_fallen)
        yield
        task.cancel()
        await asyncio.wait({task})

    routes = APIRouter(prefix="/desk", tags=["desk"], lifespan=lifespan)

    @routes.get("", responses=COMMON)
    def desk(response: Response, cookie: Key = "") -> dict[str, Any]:
        """Everything on the visitor's desk, and what the server takes. Who has no cookie gets one."""
        cookie = cookie if GIVEN.fullmatch(cookie) else secrets.token_urlsafe(32)
        response.set_cookie(COOKIE, cookie, DAYS * 86400, path="/desk", httponly=True, samesite="strict")
        return {
            "version": VERSION,
            "models": [{"name": name, "hints": model.hints} for name, model in work.models.items()],
            "formats": sorted(images.SUFFIXES),
            "limits": {
                "bytes": work.limits.bytes,
                "pixels": work.limits.pixels,
                "photographs": desks.limits.photographs,
            },
            "photographs": [shown(one) for one in desks.photographs(folder_of(cookie))],
        }

    @routes.delete("", status_code=204, responses=COMMON)
    async def clear(response: Response, cookie: Key = "") -> None:
        """Remove everything on the desk, from the server's disk too."""
        key = folder_of(cookie)
        await asyncio.to_thread(desks.clear, key)
        painter.forget(key)

    @routes.post(
        "/photographs",
        status_code=201,
        responses=COMMON | NONE | NO_ROOM | NO_COOKIE | {status: RESPONSES[status] for status in (415, 429, 503)},
        openapi_extra={"requestBody": BODY},
    )
    async def add(
        request: Request,
        name: Annotated[str, Query(max_length=1000)] = "",
        model: Annotated[str, Query(max_length=255)] = "",
        cookie: Key = "",
    ) -> Shown:
        """Put a photograph, the body, on the desk; it is colored when its turn comes."""
        if not GIVEN.fullmatch(cookie):
            raise HTTPException(428, "there is no cookie, by which photographs are found again: GET /desk gives one")
        if not SENT.fullmatch(request.headers.get("content-type", "application/octet-stream")):
            raise HTTPException(415, "the body is the photograph's file itself, as application/octet-stream")
        if model and model not in work.models:
            raise HTTPException(422, f"model {model!r}: expected one of {', '.join(work.models)}")
        with told():
            arriving = await asyncio.to_thread(desks.begin, folder_of(cookie))
            try:
                block = bytearray()
                async for chunk in request.stream():
                    block += chunk
                    if len(block) >= BLOCK:
                        await asyncio.to_thread(arriving.write, bytes(block))
                        block.clear()
                await asyncio.to_thread(arriving.write, bytes(block))
                await asyncio.to_thread(arriving.flush)
                kind = await asyncio.to_thread(kind_of, arriving.path)
                room = (
                    arriving.size / 4 if kind and kind.reader in libraries.LIBRARIES else 0
                )  # others' heads are short
                width, height = await work.run(sides, arriving.path, pixels=room)
                chosen = model or next(iter(work.models))
                photograph = await asyncio.to_thread(arriving.keep, name, chosen, width, height)
            finally:
                await asyncio.shield(asyncio.to_thread(arriving.close))
        painter.wake()
        return shown(photograph)

    @routes.get("/photographs/{id}", responses=COMMON | NONE)
    def photograph(id: Id, cookie: Key = "") -> Shown:
        """A photograph's facts."""
        with told():
            return shown(desks.get(folder_of(cookie), id))

    @routes.put("/photographs/{id}", responses=WORKED | NO_ROOM)
    async def change(id: Id, change: Change, cookie: Key = "") -> Shown:
        """Change a photograph's look, hints or model, restore it or invert it; it is painted anew by the answer."""
        with told():
            look = None if change.look is None else change.look.model_dump(exclude_none=True)
            points = None if change.hints is None else hints.checked([hint.model_dump() for hint in change.hints])
            wishes = look, points, change.model, change.restore, change.negative
            return shown(await painter.change(folder_of(cookie), id, *wishes))

    @routes.delete("/photographs/{id}", status_code=204, responses=COMMON | NONE)
    async def remove(id: Id, cookie: Key = "") -> None:
        """Remove a photograph, from the server's disk too."""
        key = folder_of(cookie)
        with told():
            await asyncio.to_thread(desks.remove, key, id)
        painter.forget(key, id)

    @routes.get("/photographs/{id}/gray.png", response_class=Response, responses=WORKED | given("image/png"))
    async def gray(id: Id, side: Annotated[int | None, Query(ge=1, le=2**16)] = None, cookie: Key = "") -> Response:
        """The photograph's luminance, upright: a PNG of 8 bits, of at most `side` pixels a side."""
        with told():
            return Response(await painter.gray(folder_of(cookie), id, side), media_type="image/png")

    @routes.get(
        "/photographs/{id}/chroma", response_class=Response, responses=PAINTED | given("application/octet-stream")
    )
    async def chroma(id: Id, cookie: Key = "") -> Response:
        """What the model painted: Cb, then Cr, a byte each, `size` rows of `size` pixels; of a toned print then its
        tone, 2 times 256 floats of 32 bits, little endian."""
        with told():
            data = await painter.chroma(folder_of(cookie), id)
            return Response(data, media_type="application/octet-stream")

    @routes.get("/photographs/{id}/palette", responses=WORKED)
    async def palette(id: Id, x: float, y: float, cookie: Key = "") -> dict[str, list[str]]:
        """Colors for a place of the upright photograph, in pixels, the most plausible first."""
        with told():
            return {"colors": await painter.palette(folder_of(cookie), id, x, y)}

    @routes.get("/photographs/{id}/file", response_class=Response, responses=WORKED | given(*MEDIA.values()))
    async def file(id: Id, cookie: Key = "") -> Response:
        """The colored photograph, in its own format with its metadata, which say that a model colored it."""
        with told():
            photograph, done = await painter.file(folder_of(cookie), id)
            response = Sent(await asyncio.to_thread(stored, done.data), done)
            response.headers["Content-Disposition"] = names.disposition(names.colored(photograph.name, done.format))
            return response

    @routes.get("/photographs.zip", response_class=Response, responses=COMMON | given("application/zip"))
    async def archive(cookie: Key = "") -> Response:
        """All photographs that are ready, colored: a zip."""
        key = folder_of(cookie)
        ready = [one.id for one in await asyncio.to_thread(desks.photographs, key) if one.status == "ready"]
        headers = {"Content-Disposition": names.disposition("photographs.colored.zip")}
        return StreamingResponse(zipped(painter, key, ready), media_type="application/zip", headers=headers)

    return routes


def kind_of(path: File) -> formats.Kind | None:
    """What a file is, None where it begins like nothing known. HTTPException for what is no image, and
    images.UnreadableImage for what is empty or a text."""
    with open(path, "rb") as file:
        kind = formats.kind(file)
        head = file.read(formats.HEAD)
    if kind is not None and not kind.image:
        raise HTTPException(415, libraries.refusal(kind))
    if kind is None and (not head or formats.is_text(head)):
        raise images.UnreadableImage(opening.unidentified(head))
    return kind


def sides(path: File) -> tuple[int, int]:
    """Width and height that an image file's header says, 0 where it does not."""
    with open(path, "rb") as file:
        header = images.header(file)
    return (header.width, header.height) if header else (0, 0)
