"""The events of a task as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import attrs
from starlette.responses import Response, StreamingResponse

from taskrunner.history.events import EventPlace, FollowedEvent, FollowedEvents, LogPiece
from taskrunner.model import StateVisit, TaskStatus
from taskrunner.queues.http.operations import EVENTS
from taskrunner.queues.http.progress import ProgressBoard
from taskrunner.queues.http.views import LogEvent, MoveEvent, ProgressEvent, TaskView, plain

PROGRESS_EVERY = 1.0
"""Seconds between two looks at the progress while nothing else happens."""

COMMENT_EVERY = 15
"""Looks after which a comment is sent, so that proxies keep the connection, and one whose client has gone is noticed.
"""

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""nginx would keep events back until its buffer is full."""


@attrs.frozen
class EventStream:
    """Makes the text of a stream."""

    events: FollowedEvents
    board: ProgressBoard

    def response(self, task_id: str, last_id: str, *, log: bool) -> Response:
        """From the event after `last_id`; one that is none of ours begins at the beginning, as browsers expect."""
        place = EventPlace()
        with suppress(ValueError):
            place = EventPlace.parse(last_id)
        return StreamingResponse(self._text(task_id, place, log=log), headers=HEADERS, media_type=EVENTS)

    async def _text(self, task_id: str, place: EventPlace, *, log: bool) -> AsyncIterator[str]:
        events = self.events.follow(task_id, place, log=log)
        looks, told = 0, 0
        waiting = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                await asyncio.wait([waiting], timeout=PROGRESS_EVERY)
                for number, run, progress in self.board.newer(task_id, told) if log else ():
                    told = number
                    yield _event("progress", ProgressEvent(run.run_id, **attrs.asdict(progress)))
                if waiting.done():
                    if (event := waiting.result()) is None:
                        return
                    yield _text_of(event)
                    waiting, looks = asyncio.ensure_future(anext(events, None)), 0
                elif (looks := looks + 1) % COMMENT_EVERY == 0:
                    yield ": waiting\n\n"
        finally:
            await _ended(waiting)
            await events.aclose()


async def _ended(waiting: asyncio.Future[Any]) -> None:
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.wait([waiting])


def _text_of(event: FollowedEvent) -> str:
    view: Any = None
    match event.about:
        case TaskStatus():
            view = TaskView.of(event.about)
        case StateVisit(at, state, name, message):
            view = MoveEvent(event.place.run_id, at, state, name, message)
        case LogPiece(offset, data, mark):
            text = data.decode("utf-8", "replace")
            view = LogEvent(event.place.run_id, offset, text, mark.stream, mark.time)
    return _event(event.kind, view, str(event.place))


def _event(kind: str, view: Any, place: str = "") -> str:
    lines = [f"event: {kind}", *([f"id: {place}"] if place else []), f"data: {json.dumps(plain(view))}"]
    return "\n".join(lines) + "\n\n"
