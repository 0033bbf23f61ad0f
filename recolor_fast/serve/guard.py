"""Who may ask what of a server: an ASGI application around another one. It knows nothing of photographs.

Refused are requests for a name that is none of this server's (DNS rebinding), of other sites' pages, without the token
where there is one, and bodies that are too large or come too slowly. Every answer gets the same headers.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; worker-src 'self'; manifest-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
OPEN = ("/health",)  # without a token: what watches over servers knows none
SMALL = 2**20  # bytes of a body that is no photograph
FORM = 2**20  # bytes that a form may be larger than the photograph in it
GRACE, RATE = 20.0, 16384  # seconds that any body may take, and bytes a second that a longer one has to come at
LINGER = 10.0  # seconds that a body is still read, and thrown away, after an answer that did not wait for it
DAYS = 90  # that a browser remembers the token


class Rules(NamedTuple):
    """What a server allows."""

    names: tuple[str, ...] = ()
    """Names that browsers may call it by, beside localhost and addresses."""
    token: str = ""
    """What requests have to know; empty: nothing."""
    bytes: int = 64 * 2**20
    """Of a photograph."""
    grace: float = GRACE
    """Seconds that any body may take."""


class Refused(Exception):
    """A request that is not answered as it wishes."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}


def check(scope: Scope, headers: Headers, rules: Rules) -> None:
    """Raise Refused for a request that is not to reach the application, by what its head says."""
    host = headers.get("host", "")
    if not _known(host, rules.names):
        raise Refused(400, f"unknown host {host[:80]!r}: call the server by its address, or start it with --name")
    site, mode = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-mode", "")
    origin = headers.get("origin")
    foreign = site not in ("none", "same-origin")
    if scope["method"] in SAFE:
        if foreign and mode != "navigate":
            raise Refused(403, "another site's page may not ask for this")
    elif foreign or (origin is not None and urlsplit(origin).netloc.lower() != host.lower()):
        raise Refused(403, "another site's page may not do this")
    if rules.token and scope["path"] not in OPEN:
        _check_token(scope, headers, rules.token)
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _most(scope["method"], rules):
        raise _too_large(_most(scope["method"], rules))


def _known(host: str, names: tuple[str, ...]) -> bool:
    """Whether a Host header is this server's: pages of other sites reach it by their own names alone."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        if name in ("localhost", *(own.lower() for own in names)):
            return True
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _check_token(scope: Scope, headers: Headers, token: str) -> None:
    given = [headers.get("authorization", "").removeprefix("Bearer ")]
    try:
        if cookie := SimpleCookie(headers.get("cookie", "")).get(cookie_name(token)):
            given.append(cookie.value)
    except CookieError:
        pass
    if any(_same(one, token) for one in given):
        return
    query = parse_qs(scope["query_string"].decode("latin-1"))
    if scope["path"] == "/" and scope["method"] == "GET" and _same(query.get("token", [""])[0], token):
        cookie_text = f"{cookie_name(token)}={token}; Max-Age={DAYS * 86400}; Path=/; HttpOnly; SameSite=Lax"
        raise Refused(303, "", {"Location": "/", "Set-Cookie": cookie_text})
    asks = {"WWW-Authenticate": "Bearer"}
    raise Refused(401, "token missing or wrong: open /?token=TOKEN, or send the header Authorization: Bearer", asks)


def cookie_name(token: str) -> str:
    """The cookie that holds a token; cookies do not know ports, so two servers on a machine keep theirs apart."""
    return f"token_{hashlib.sha256(token.encode()).hexdigest()[:8]}"


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), token.encode())


def _most(method: str, rules: Rules) -> int:
    return rules.bytes + FORM if method == "POST" else SMALL


def _too_large(most: int) -> Refused:
    return Refused(413, f"too large: a body may have {most:,} bytes")


class Guard:
    """The application, guarded."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _Exchange(self.rules, scope, receive, send).run(self.app)
        elif scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})


class _Exchange:
    """A request and its answer."""

    def __init__(self, rules: Rules, scope: Scope, receive: Receive, send: Send) -> None:
        self.rules, self.scope, self._receive, self._send = rules, scope, receive, send
        self.headers = Headers(scope=scope)
        self.whole = self.headers.get("content-length", "0") == "0" and "transfer-encoding" not in self.headers
        self.length = 0  # bytes of the body that have come
        self.since = asyncio.get_running_loop().time()
        self.started = False  # the answer
        self.refused: Refused | None = None

    async def run(self, app: ASGIApp) -> None:
        try:
            check(self.scope, self.headers, self.rules)
            await app(self.scope, self.receive, self.send)
        except Refused as refused:
            self.refused = refused
        if self.refused and not self.started:
            await self._refuse(self.refused)

    async def receive(self) -> Message:
        """The next part of the body. Raises Refused where it is too large or slow, whoever catches that."""
        if self.whole:
            return await self._receive()
        try:
            until = self.since + self.rules.grace + self.length / RATE
            async with asyncio.timeout_at(until):
                message = await self._receive()
        except TimeoutError:
            self.refused = Refused(408, "the body comes too slowly")
            raise self.refused from None
        self.length += len(message.get("body", b""))
        self.whole = not message.get("more_body", False)
        if self.length > _most(self.scope["method"], self.rules):
            self.refused = _too_large(_most(self.scope["method"], self.rules))
            raise self.refused
        return message

    async def send(self, message: Message) -> None:
        """The application's answer, but for one to a request that is refused."""
        if self.refused is None or self.started:
            await self._answer(message)

    async def _answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if not self.whole:
                headers["Connection"] = "close"
        elif not message.get("more_body", False) and not self.whole:
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _linger(self) -> None:
        """Read what still comes, for a while: a client that is cut off while it sends may never read the answer."""
        if self.refused and self.refused.status == 408:
            return
        try:
            async with asyncio.timeout(LINGER):
                while not self.whole:
                    self.whole = not (await self._receive()).get("more_body", False)
        except TimeoutError:
            pass

    async def _refuse(self, refused: Refused) -> None:
        body = json.dumps({"detail": refused.detail}).encode() if refused.detail else b""
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **refused.headers}
        raw: list[tuple[bytes, bytes]] = [(name.lower().encode(), text.encode()) for name, text in headers.items()]
        start: dict[str, Any] = {"type": "http.response.start", "status": refused.status, "headers": raw}
        await self._answer(start)
        await self._answer({"type": "http.response.body", "body": body})
