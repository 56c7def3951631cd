"""The page, and the one script it needs besides its own."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse
from fastapi.responses import Response as HttpResponse

from gateway.page import Page


def router(page: Page) -> APIRouter:
    """Return the routes of ``page``."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/")
    def root() -> HttpResponse:
        return HttpResponse(page.html, media_type="text/html; charset=utf-8")

    @routes.get("/static/plotly.min.js")
    def plotly() -> FileResponse:
        return FileResponse(
            Path(page.plotly),
            media_type="text/javascript",
            headers={"Cache-Control": "max-age=3600"},
        )

    return routes
