"""The daemon's answer to `POST /build`: lines of JSON, each with a message of BuildKit or of the API."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator

import attrs

from taskrunner.errors import TaskFailedInternally
from taskrunner_docker.api.exchange import Exchange
from taskrunner_docker.buildkit.protobuf import WireError
from taskrunner_docker.buildkit.trace import Trace, read_trace

MAX_LINE = 1 << 24  # bytes; the daemon cuts output into pieces of 32 kB, but a step's name can be a long script
READ_SIZE = 1 << 16


@attrs.frozen
class ImageWritten:
    """The build has made this image."""

    image_id: str


@attrs.frozen
class BuildFailed:
    """The build failed, with the daemon's text."""

    text: str


@attrs.frozen
class Output:
    """Text for people, cut anywhere."""

    text: str


Message = Trace | ImageWritten | BuildFailed | Output


def messages(answer: Exchange) -> Iterator[Message]:
    """All messages of the daemon, as they come. Raises: TaskFailedInternally (they cannot be read), Unavailable."""
    try:
        for line in _lines(answer):
            if message := _read(json.loads(line)):
                yield message
    except (WireError, ValueError, binascii.Error, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TaskFailedInternally(
            f"the Docker daemon's report on the build cannot be read: {type(error).__name__}"
        ) from error


def _lines(answer: Exchange) -> Iterator[bytes]:
    rest = bytearray()
    while data := answer.read1(READ_SIZE):
        *lines, last = data.split(b"\n")
        for line in lines:
            rest += line
            if rest.strip():
                yield bytes(rest)
            rest.clear()
        rest += last
        if len(rest) > MAX_LINE:
            raise WireError("a line that does not end")
    if rest.strip():
        yield bytes(rest)


def _read(document: dict[str, object]) -> Message | None:
    aux = document.get("aux")
    match document.get("id"), aux:
        case "moby.buildkit.trace", str():
            return read_trace(base64.b64decode(aux, validate=True))
        case "moby.image.id" | None, {"ID": str(image_id)}:
            return ImageWritten(image_id)
    if "error" in document or "errorDetail" in document:
        return _failure(document)
    return Output(str(document["stream"])) if document.get("stream") else None


def _failure(document: dict[str, object]) -> BuildFailed:
    match document.get("errorDetail"):
        case {"message": str(text)}:
            return BuildFailed(text)
    return BuildFailed(str(document.get("error") or "the daemon gives no reason"))
