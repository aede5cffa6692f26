"""What a request says: its document and its parameters, each checked, with complaints that name it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from http import HTTPStatus
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import MAX_DOCUMENT
from taskrunner.model import Document
from taskrunner.schema.decode import decode
from taskrunner.schema.parse import parse_document

T = TypeVar("T")

FORMATS = {"application/json": "json", "application/toml": "toml", "application/yaml": "yaml"}
"""A browser sends none of them for a page of another site without asking first."""

BODY_LIMIT = 30.0
"""Seconds for the body of a request, however it comes."""

MOST = 2**53
"""The largest number of a parameter."""


_CLOSE = {"Connection": "close"}
"""What is left of such a request is not read."""


async def read_body(request: Request) -> bytes:
    """Raises HTTPException for one that is larger than a document can be, or takes too long."""
    try:
        async with asyncio.timeout(BODY_LIMIT):
            return await _whole_body(request)
    except TimeoutError:
        raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, "the body has not come in time", _CLOSE) from None
    except ClientDisconnect:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "the request ends before its body") from None


async def _whole_body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_DOCUMENT:
            problem = f"a document has at most {MAX_DOCUMENT} bytes"
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, problem, _CLOSE)
    return body


async def read_document(request: Request) -> Document:
    """The document of a request. Raises HTTPException, MalformedPayload."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in FORMATS:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"send Content-Type: {', '.join(FORMATS)}")
    return parse_document(await read_body(request), "body", FORMATS[media])


async def read_view(request: Request, cls: type[T]) -> T:
    """The same as an instance of a class; an absent body has no fields. Raises HTTPException, MalformedPayload."""
    if request.headers.get("content-length", "0") == "0" and "transfer-encoding" not in request.headers:
        if request.headers.get("content-type", "application/json").partition(";")[0] in FORMATS:
            return decode(cls, {})
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send no body and no type, or JSON")
    return decode(cls, dict(await read_document(request)))


class Parameters:
    """The query of a request. Raises MalformedPayload for a name that the operation does not have."""

    def __init__(self, request: Request, known: Collection[str]) -> None:
        self._values = request.query_params
        problems = [
            Complaint(f"query.{name}"[:100], "is not known here", f"known are: {', '.join(known) or 'none'}")
            for name in self._values
            if name not in known
        ]
        problems += [
            Complaint(f"query.{name}", "is given twice", "give it once")
            for name in known
            if len(self._values.getlist(name)) > 1
        ]
        if problems:
            raise MalformedPayload(*problems[:10])

    def number(self, name: str, default: int | None = None, least: int = 0, most: int = MOST) -> int | None:
        text = self._values.get(name)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,16}", text) or not least <= int(text) <= most:
            raise MalformedPayload(Complaint(f"query.{name}", f"is no number between {least} and {most}"))
        return int(text)

    def flag(self, name: str, *, default: bool = False) -> bool:
        text = self._values.get(name)
        if text is None:
            return default
        if text not in {"true", "false"}:
            raise MalformedPayload(Complaint(f"query.{name}", "is neither true nor false"))
        return text == "true"

    def text(self, name: str) -> str:
        return self._values.get(name, "")[:200]
