"""Errors as answers: problem details (RFC 9457), with every complaint about a document."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from taskrunner.errors import Complaint, Conflict, MalformedPayload, NotSupported, Unavailable, UnknownTask
from taskrunner.queues.http.views import Problem, plain

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER = 5
"""Seconds after which a client tries again when what the queue needs does not answer."""

STATUSES: Mapping[type[Exception], HTTPStatus] = {
    MalformedPayload: HTTPStatus.UNPROCESSABLE_ENTITY,
    UnknownTask: HTTPStatus.NOT_FOUND,
    FileNotFoundError: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    NotSupported: HTTPStatus.NOT_IMPLEMENTED,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
}

log = logging.getLogger(__name__)


def problem(
    status: int, detail: str = "", complaints: tuple[Complaint, ...] = (), headers: Mapping[str, str] | None = None
) -> JSONResponse:
    view = Problem(HTTPStatus(status).phrase, status, detail, complaints)
    return JSONResponse(plain(view), status, headers, MEDIA_TYPE)


async def explain_error(_: Request, error: Exception) -> Response:
    """The answer to a request that has raised one of STATUSES."""
    status = next(found for kind, found in STATUSES.items() if isinstance(error, kind))
    if isinstance(error, MalformedPayload):
        return problem(status, "see `complaints`", error.complaints)
    if isinstance(error, FileNotFoundError):
        return problem(status, "there is no such artifact")
    if isinstance(error, Unavailable):
        log.warning("a request could not be answered: %s", error)
        return problem(status, "the queue or the store does not answer now", (), {"Retry-After": str(RETRY_AFTER)})
    return problem(status, str(error))


async def explain_http(_: Request, error: Exception) -> Response:
    """The answer for what no operation has: an unknown path or method, and what a check of the request refused."""
    if not isinstance(error, HTTPException):
        raise error
    detail = error.detail if error.detail != HTTPStatus(error.status_code).phrase else ""
    return problem(error.status_code, detail, (), error.headers)


async def explain_bug(_: Request, __: Exception) -> Response:
    """The answer when anything else was raised; the error itself goes to the log of the worker."""
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an error of the server: its log says more")
