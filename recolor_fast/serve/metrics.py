"""GET /metrics: what a server has done and what it is doing, as Prometheus reads it."""

import time

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recolor_fast.serve.work import Work

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")  # others are counted as one


class Metrics:
    """The numbers of a server."""

    def __init__(self, work: Work) -> None:
        self.registry = own = CollectorRegistry()
        labels = ("method", "path", "status")
        self.requests = Counter("recolor_fast_requests", "Requests that were answered.", labels, registry=own)
        about = "From a request's head to its answer's end."
        self.seconds = Histogram("recolor_fast_request_seconds", about, ["path"], registry=own)
        jobs = Gauge("recolor_fast_jobs", "Jobs that wait or are worked on.", registry=own)
        jobs.set_function(lambda: work.jobs)
        most = Gauge("recolor_fast_jobs_limit", "Jobs from which on more are refused.", registry=own)
        most.set(work.limits.queue)
        pixels = Gauge("recolor_fast_pixels_in_flight", "Room that jobs hold, in pixels.", registry=own)
        pixels.set_function(lambda: work.pixels)
        ProcessCollector(registry=self.registry)

    def router(self) -> APIRouter:
        """The route that tells them."""
        routes = APIRouter()

        @routes.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
        async def metrics() -> Response:
            """What the server has done, in Prometheus' text format."""
            return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

        return routes

    def counted(self, app: ASGIApp) -> ASGIApp:
        """The application, its requests counted by the path of their route, not by what was asked for."""

        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                return await app(scope, receive, send)
            began, status = time.perf_counter(), 500

            async def watch(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, watch)
            finally:
                path = getattr(scope.get("route"), "path", "other")
                method = scope["method"] if scope["method"] in METHODS else "other"
                self.requests.labels(method, path, str(status)).inc()
                self.seconds.labels(path).observe(time.perf_counter() - began)

        return wrapped
