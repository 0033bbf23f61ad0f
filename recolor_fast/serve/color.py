"""POST /color: an image file in, a colored one out."""

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable
from enum import Enum
from typing import Annotated, Any, BinaryIO, Literal, TypeVar, cast

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.types import Receive, Scope, Send

from recolor_fast.artefact import hints
from recolor_fast.coloring.coloring import LOOK
from recolor_fast.coloring.folder import FORMATS
from recolor_fast.photographs import encoders, images, libraries
from recolor_fast.serve.work import MEDIA, Done, Full, Work
from recolor_fast.settings import Settings

Value = TypeVar("Value")

FIELD = 2**17  # bytes of a field: hints.MOST hints fit
MEMORY = 2**20  # bytes of an upload, or of an answer, that are not on the disk
CHUNK = 2**18  # bytes that are sent at a time
NOTES = "Recolor-Fast-Notes"
LONGEST = 4000  # characters of a header of notes
GONE = 499  # the status, which nobody reads, of an answer to a client that has left
Format = Enum(  # type: ignore[misc]
    "Format",
    {name: name for name in encoders.WRITABLE if name not in libraries.LIBRARIES or not libraries.missing(name)},
    type=str,
)


def _key(word: object) -> object:
    """jpg or jpeg as JPEG, as --format takes it."""
    return FORMATS.get(f".{word.lower()}", word.upper()) if isinstance(word, str) else word


class Options(BaseModel):
    """How a photograph is colored and written."""

    model_config = ConfigDict(extra="forbid")

    saturation: float = Field(1.0, ge=0, le=4, description="Factor of the colors' strength.")
    warmth: float = Field(0.0, ge=-1, le=1, description="Cooler to warmer light.")
    strength: float = Field(1.0, ge=0, le=1, description="From the photograph as it was to the colored one.")
    keep_tone: float = Field(LOOK.keep_tone, ge=0, le=1, description="Share of a toned print's own tone that stays.")
    restore: bool = Field(False, description="Stretch the tones of a faded print from black to white first.")
    negative: bool = Field(False, description="The photograph is a negative: invert it first.")
    hints: str = Field(
        "",
        description="Colors at places of the upright photograph, in pixels, as JSON: "
        '[{"x": 10, "y": 20, "color": "#c08040", "radius": 8}].',
    )
    format: Annotated[Format | None, BeforeValidator(_key)] = Field(
        None, description="Format of the answer; the photograph's own if not given."
    )
    quality: int = Field(Settings.quality, ge=1, le=100, description="Of JPEG, WebP, AVIF, HEIF and JXL.")
    metadata: Literal["keep", "drop"] = Field("keep", description="EXIF, XMP, IPTC, resolution and texts.")
    color: Literal["recolor", "skip"] = Field(
        "recolor", description="Of a picture in color: recolor gives it new colors, skip gives it back as it came."
    )
    model: str = Field("", max_length=255, description="One of the server's; its first one if not given.")


_sentence = {"schema": {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}}
binary: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def problem(description: str) -> dict[str, Any]:
    """The entry of OpenAPI's responses for a refusal: a sentence."""
    return {"description": description, "content": {"application/json": _sentence}}


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": f"The colored photograph. {NOTES}: what one should know of it, a list in JSON.",
        "content": dict.fromkeys((*MEDIA.values(), "application/octet-stream"), binary),
    },
    400: problem("Not sent to this server's name, or no valid form."),
    401: problem("The token is missing or wrong."),
    403: problem("Sent by another site's page."),
    408: problem("The body came too slowly."),
    413: problem("Too many bytes or pixels."),
    415: problem("No image, or one that is damaged."),
    422: problem("An option has a bad value, or there is no image."),
    429: problem("Too many photographs are waiting. Retry-After says when to try again."),
    503: problem("It took too long, or the server stops."),
}
_fields = {name: {"type": "string", "description": field.description} for name, field in Options.model_fields.items()}
BODY = {
    "required": True,
    "description": "An image file, as it is or as the field `image` of a form, which may have the options as well.",
    "content": {
        "application/octet-stream": binary,
        "image/*": binary,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "string", "format": "binary"}, **_fields},
                "required": ["image"],
            }
        },
    },
}


def router(work: Work) -> APIRouter:
    """The route of a server's work."""
    routes = APIRouter()

    @routes.post("/color", response_class=Response, responses=RESPONSES, openapi_extra={"requestBody": BODY})
    async def color(request: Request, options: Annotated[Options, Query()]) -> Response:
        """Color a photograph. Its colors are a model's guesses; the file says so in its metadata."""
        if work.full:
            raise Full("many photographs are waiting already")
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data":
            async with request.form(max_files=1, max_fields=len(_fields), max_part_size=FIELD) as form:
                file, options = _of_form(form, options)
                done = await unless_gone(request, _colored(work, file, options))
        else:
            with _new() as file:
                async for chunk in request.stream():
                    file.write(chunk)
                done = await unless_gone(request, _colored(work, file, options))
        return Response(status_code=GONE) if done is None else Sent(await asyncio.to_thread(stored, done.data), done)

    return routes


async def _colored(work: Work, file: BinaryIO, options: Options) -> Done:
    try:
        given = hints.checked(json.loads(options.hints)) if options.hints else ()
        values = options.model_dump(exclude={"hints", "model", "format"})
        settings = Settings(**values, format=options.format.value if options.format else "")
        model = options.model or next(iter(work.models))
        if model not in work.models:
            raise ValueError(f"model {model!r}: expected one of {', '.join(work.models)}")
        return await work.color(file, model, given, settings)
    except images.UnreadableImage:
        raise
    except RecursionError:
        raise HTTPException(422, "hints: nested too deeply") from None
    except ValueError as error:  # of the values, and what the format cannot hold
        text = f"hints: not JSON: {error}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise HTTPException(422, text) from error


def _of_form(form: FormData, options: Options) -> tuple[BinaryIO, Options]:
    """The file of a form, and the options of the query and the form. Raises HTTPException, RequestValidationError."""
    file = form.get("image")
    if not isinstance(file, UploadFile):
        raise HTTPException(422, "image: expected a file in the form's field of this name")
    pairs = [(name, value) for name, value in form.multi_items() if name != "image"]
    fields = dict(pairs)
    if len(fields) < len(pairs) or fields.keys() & options.model_fields_set:
        raise HTTPException(422, "an option is given twice")
    try:
        given = {name: getattr(options, name) for name in options.model_fields_set}
        return file.file, Options.model_validate({**given, **fields})
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error


async def unless_gone(request: Request, job: Awaitable[Value]) -> Value | None:
    """What a job gives, None where the client, all of whose request has come, leaves before it is done."""
    task, gone = asyncio.ensure_future(job), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        gone.cancel()
        task.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Sent(StreamingResponse):
    """A colored file as an answer. It lies on the disk until it is sent: clients may read slowly."""

    def __init__(self, file: BinaryIO, done: Done) -> None:
        headers = {"Content-Length": str(len(done.data)), NOTES: notes(done.notes)}
        super().__init__(self.chunks(), media_type=done.media, headers=headers)
        self.file = file

    async def chunks(self) -> AsyncIterator[bytes]:
        while chunk := self.file.read(CHUNK):
            yield chunk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.file:
            await super().__call__(scope, receive, send)


def stored(data: bytes) -> BinaryIO:
    """A file without a name that holds these bytes, at its start."""
    file = _new()
    file.write(data)
    file.seek(0)
    return file


def _new() -> BinaryIO:
    """A file without a name, on the disk once it is larger than MEMORY."""
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(MEMORY))


def notes(texts: tuple[str, ...]) -> str:
    """Notes as a header's value: a list in JSON, ASCII; as many of them as fit."""
    kept = list(texts)
    while len(text := json.dumps(kept)) > LONGEST:
        kept.pop()
    return text
