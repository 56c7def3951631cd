"""Health and figures of this process."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from fastapi.responses import Response as HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from gateway import problems
from gateway.api import Parts
from gateway.api.caller import Operator


def router(parts: Parts) -> APIRouter:
    """Return the routes over ``parts``."""
    routes = APIRouter()

    @routes.get("/healthz", response_class=PlainTextResponse)
    def healthz() -> PlainTextResponse:
        """Say that this process answers."""
        return PlainTextResponse("alive\n")

    @routes.get("/readyz", response_class=PlainTextResponse)
    def readyz() -> HttpResponse:
        """Say whether readings can come in and be kept."""
        wrong = {
            "broker": "" if parts.intake.connected else "not connected",
            "store": ""
            if parts.intake.commit_good
            else "the last commit failed, or one takes long",
            "ingest": "" if parts.intake.working else "not running",
        }
        if not any(wrong.values()):
            return PlainTextResponse("ready\n")
        named = [(name, why) for name, why in wrong.items() if why]
        return problems.problem(503, "; ".join(f"{name}: {why}" for name, why in named))

    @routes.get("/metrics", response_class=PlainTextResponse)
    def metrics(_who: Operator) -> HttpResponse:
        """Show all figures, for Prometheus."""
        body = generate_latest(parts.metrics.registry)
        return HttpResponse(body, media_type=CONTENT_TYPE_LATEST)

    return routes
