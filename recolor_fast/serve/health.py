"""GET /health: that the server is there."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from recolor_fast.photographs import provenance
from recolor_fast.serve.work import Work


class Health(BaseModel):
    """What is said of the server."""

    status: Literal["ok"]
    version: str
    """Of the package."""
    models: list[str]
    """Names of the models that it was started with."""
    waiting: int
    """Jobs that wait or are worked on."""


def router(work: Work) -> APIRouter:
    """The route of a server's work."""
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> Health:
        """Whether the server is there, and what it has to do."""
        return Health(status="ok", version=provenance.colored_by(), models=[*work.models], waiting=work.jobs)

    return routes
