"""The study's web page: what a browser gets and sends."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Cookie, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.middleware.trustedhost import TrustedHostMiddleware

from recolor_fast.study.study import Definition, database, enroll, now, state, stored

PAGE = Path(__file__).with_name("study.html")
LONGEST_BODY = 1000  # bytes of a request; an answer has about 100
DAY = 24 * 60 * 60
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self' data:; connect-src 'self'; "
    "script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Answer(BaseModel):
    """What a browser sends."""

    model_config = ConfigDict(extra="forbid", strict=True)

    image: str = Field(max_length=64)
    answer: Literal["real", "colored"]
    milliseconds: int = Field(ge=0, le=1000 * DAY)


def submit(db: sqlite3.Connection, study: Definition, participant: str, answer: Answer) -> dict[str, Any]:
    """Store an answer, once and in order; the state after it. HTTPException otherwise."""
    own = db.execute(
        "SELECT 1 FROM showing JOIN participant ON participant.id = participant "
        "WHERE participant.token = ? AND showing.token = ?",
        [participant, answer.image],
    ).fetchone()
    if own is None:
        raise HTTPException(404, "no such image for this participant")
    if state(db, study, participant)["image"] != answer.image:
        raise HTTPException(409, "this image has been answered, or another comes first")
    db.execute(
        "UPDATE showing SET answer = ?, milliseconds = ?, answered = ? WHERE token = ?",
        [answer.answer, answer.milliseconds, now(), answer.image],
    )
    return state(db, study, participant)


def application(path: Path, host: str = "127.0.0.1") -> FastAPI:
    """The web application of a study that exists, for requests to `host` (and to this machine by its other names)."""
    study = stored(path)
    name = f"study_{study.id}"  # cookies do not know ports: two studies on one machine keep theirs apart
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    Token = Annotated[str, Cookie(alias=name, max_length=64)]

    @app.middleware("http")
    async def guard(request: Request, go_on: Callable[[Request], Any]) -> Response:
        """No body that is large or that another site's form could send; the same headers on every answer."""
        response: Response
        length = request.headers.get("content-length", "")
        if request.method == "POST" and not (length.isdecimal() and int(length) <= LONGEST_BODY):
            response = JSONResponse({"detail": f"expected a body of at most {LONGEST_BODY} bytes"}, 413)
        elif request.method == "POST" and request.headers.get("content-type", "").split(";")[0] != "application/json":
            response = JSONResponse({"detail": "expected application/json"}, 415)
        else:
            response = await go_on(request)
        response.headers.update(HEADERS)
        return response

    # The outermost: an address that another site's name was made to point to (DNS rebinding) gets nothing.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost", host], www_redirect=False)

    @app.get("/")
    def page() -> HTMLResponse:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"))

    @app.get("/state")
    def show(participant: Token = "") -> dict[str, Any]:
        with database(path) as db:
            return state(db, study, participant)

    @app.post("/start")
    def start(response: Response, participant: Token = "") -> dict[str, Any]:
        """Who has begun goes on; anyone else, and who has finished, is a new participant."""
        with database(path, write=True) as db:
            if state(db, study, participant)["image"] is None:
                participant = enroll(db, study)
            response.set_cookie(name, participant, max_age=90 * DAY, httponly=True, samesite="strict")
            return state(db, study, participant)

    @app.post("/answer")
    def answer(answer: Answer, participant: Token = "") -> dict[str, Any]:
        with database(path, write=True) as db:
            return submit(db, study, participant, answer)

    @app.get("/image/{token}")
    def image(token: str, participant: Token = "") -> Response:
        """A picture of this participant's; those to come are not known by their tokens yet."""
        with database(path) as db:
            row = db.execute(
                "SELECT bmp FROM picture JOIN showing ON picture.id = picture "
                "JOIN participant ON participant.id = participant WHERE showing.token = ? AND participant.token = ?",
                [token, participant],
            ).fetchone()
        if row is None:
            raise HTTPException(404, "no such image for this participant")
        return Response(row[0], media_type="image/bmp")

    return app
