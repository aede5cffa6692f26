"""Answers of a server: their errors as ours, and their JSON as values."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import httpx

from taskrunner.errors import Complaint, ConfigError, Conflict, MalformedPayload, NotSupported, Unavailable, UnknownTask
from taskrunner.queues.http.views import Problem
from taskrunner.schema.decode import decode

T = TypeVar("T")

MOST_OF_PROBLEM = 1 << 20
"""Bytes of an error that are read."""


def view_of(cls: type[T], answer: object) -> T:
    """An answer as an instance of a class. Raises: Unavailable."""
    try:
        return decode(cls, answer)
    except MalformedPayload as error:
        problem = f"the server speaks another version of this protocol: {error.complaints[0]}"
    raise Unavailable(problem)


async def checked(response: httpx.Response) -> httpx.Response:
    """A response that is no error.

    Raises: MalformedPayload, UnknownTask, FileNotFoundError, Conflict, NotSupported, ConfigError (the token),
        Unavailable.
    """
    if response.is_success:
        return response
    problem = await _problem(response)
    said = problem.detail or problem.title
    match response.status_code:
        case httpx.codes.UNPROCESSABLE_ENTITY if problem.complaints:
            raise MalformedPayload(*problem.complaints)
        case httpx.codes.NOT_FOUND if "artifact" in said:
            raise FileNotFoundError(said)
        case httpx.codes.NOT_FOUND:
            raise UnknownTask(said)
        case httpx.codes.CONFLICT:
            raise Conflict(said)
        case httpx.codes.NOT_IMPLEMENTED:
            raise NotSupported(said)
        case httpx.codes.UNAUTHORIZED:
            raise ConfigError(f"{response.url.host} wants a token: set `token` of this queue to one of the server's")
        case httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            raise MalformedPayload(Complaint("", said))
    raise Unavailable(f"{response.url.host} answers {response.status_code}: {said}")


async def _problem(response: httpx.Response) -> Problem:
    body = b""
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MOST_OF_PROBLEM:
            break
    try:
        found: Any = json.loads(body)
        return decode(Problem, found)
    except (ValueError, MalformedPayload):
        return Problem(response.reason_phrase or "no HTTP status", response.status_code)
