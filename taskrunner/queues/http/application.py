"""The ASGI application of the API."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from taskrunner.queues.http.endpoints import Endpoints
from taskrunner.queues.http.gate import HEALTH, Gate
from taskrunner.queues.http.openapi import openapi_document
from taskrunner.queues.http.operations import OPERATIONS, PREFIX
from taskrunner.queues.http.problems import STATUSES, explain_bug, explain_error, explain_http
from taskrunner.queues.listening import BearerTokens

OPENAPI = "/openapi.json"


def application(endpoints: Endpoints, tokens: BearerTokens) -> ASGIApp:
    routes = [
        Route(
            PREFIX + operation.path.replace("{name}", "{name:path}"),
            getattr(endpoints, operation.name),
            methods=[operation.method],
        )
        for operation in OPERATIONS
    ]
    routes += [Route(OPENAPI, _openapi), Route(HEALTH, _health)]
    handlers = {**dict.fromkeys(STATUSES, explain_error), HTTPException: explain_http, Exception: explain_bug}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Gate(app, tokens)


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi_document())


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok\n")
