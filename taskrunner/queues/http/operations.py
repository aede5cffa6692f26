"""What the API can do, as one list: the routes of the application and the OpenAPI document are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs

from taskrunner.queues.http.views import ArtifactList, Counts, Done, IdList, Message, StoryView, TaskList, TaskView

PREFIX = "/v1"

JSON, BYTES, EVENTS = "application/json", "application/octet-stream", "text/event-stream"

ANY = "*/*"
"""Of an artifact: its own."""


@attrs.frozen
class Operation:
    """One method of one path. `name` is that of the method of `Endpoints`."""

    name: str
    method: Literal["GET", "POST", "PUT"]
    path: str
    summary: str
    answers: Mapping[int, type[Any] | str]
    """The class of the answer by its status, or its media type."""
    query: Mapping[str, str] = {}
    """What each parameter is: a text with its type in front."""
    body: type[Any] | Literal["task", ""] = ""
    errors: tuple[int, ...] = ()
    """Statuses of refusals, beside those that every operation has."""


RUN = "integer: the run; otherwise the last"

OPERATIONS = (
    Operation(
        "submit_new",
        "POST",
        "/tasks",
        "Submit a task. One without an id gets a new one; to be able to repeat a request, use PUT.",
        {201: TaskView, 200: TaskView},
        body="task",
        errors=(409, 413, 415),
    ),
    Operation(
        "list_tasks",
        "GET",
        "/tasks",
        "The newest tasks first.",
        {200: TaskList},
        {"limit": "integer: at most so many, by default 100"},
    ),
    Operation(
        "submit",
        "PUT",
        "/tasks/{id}",
        "Submit a task under this id. The same again changes nothing (200); another document is refused (409).",
        {201: TaskView, 200: TaskView},
        body="task",
        errors=(409, 413, 415),
    ),
    Operation("status", "GET", "/tasks/{id}", "A task and its runs.", {200: TaskView}, errors=(404,)),
    Operation(
        "cancel",
        "POST",
        "/tasks/{id}/cancel",
        "End a task, pending or running. `done` is false when it had been resolved.",
        {200: Done},
        body=Message,
        errors=(404, 413, 415),
    ),
    Operation(
        "retry",
        "POST",
        "/tasks/{id}/retry",
        "Run a resolved task again. `done` is false when it is not resolved.",
        {200: Done},
        errors=(404,),
    ),
    Operation(
        "follow",
        "GET",
        "/tasks/{id}/events",
        "What happens to a task until it is resolved, as server-sent events: `status` and `answer` (Task), `move`, "
        "`log`, `progress`. After a disconnect, send the last id as Last-Event-ID to go on there.",
        {200: EVENTS},
        {"log": "boolean: with false, only `status` and `answer`"},
        errors=(404,),
    ),
    Operation(
        "log",
        "GET",
        "/tasks/{id}/log",
        "The log of a run, as the task wrote it.",
        {200: BYTES},
        {"run": RUN, "offset": "integer: leave out the first bytes", "follow": "boolean: wait for more until it ends"},
        errors=(404,),
    ),
    Operation(
        "log_index",
        "GET",
        "/tasks/{id}/log.index",
        "When each piece of the log came, and from which stream: records of 16 bytes.",
        {200: BYTES},
        {"run": RUN, "offset": "integer: leave out the first bytes"},
        errors=(404,),
    ),
    Operation(
        "story",
        "GET",
        "/tasks/{id}/story",
        "The states of a run and how long each took, what its clean-up has left, and when retention removed its files.",
        {200: StoryView},
        {"run": RUN},
        errors=(404,),
    ),
    Operation(
        "artifacts",
        "GET",
        "/tasks/{id}/artifacts",
        "The artifacts of a run.",
        {200: ArtifactList},
        {"run": RUN},
        errors=(404,),
    ),
    Operation(
        "artifact",
        "GET",
        "/tasks/{id}/artifacts/{name}",
        "One artifact of a run. Its name may have slashes.",
        {200: ANY},
        {"run": RUN, "offset": "integer: leave out the first bytes"},
        errors=(404, 416),
    ),
    Operation("counts", "GET", "/counts", "How many tasks wait to be claimed.", {200: Counts}),
    Operation(
        "matching",
        "GET",
        "/ids",
        "The ids that begin with a text.",
        {200: IdList},
        {"prefix": "string: the beginning", "limit": "integer: at most so many, by default 10"},
    ),
)
