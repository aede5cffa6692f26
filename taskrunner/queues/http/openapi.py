"""The OpenAPI document of the API, made from the list of operations and the classes of their answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from taskrunner.config.plugins import load_platform, platforms
from taskrunner.errors import ConfigError
from taskrunner.limits import ID_PATTERN
from taskrunner.queues.http import views
from taskrunner.queues.http.operations import EVENTS, JSON, OPERATIONS, PREFIX, Operation
from taskrunner.queues.http.problems import MEDIA_TYPE
from taskrunner.queues.http.requests import FORMATS
from taskrunner.schema.json_schema import object_schema, task_schema
from taskrunner.schema.validators import Schema

ALWAYS = (400, 401, 403, 408, 422, 503)
"""Statuses of refusals that every operation has. 422: a parameter that it does not know."""

EVENT_VIEWS = (views.TaskView, views.MoveEvent, views.LogEvent, views.ProgressEvent)


@cache
def openapi_document() -> Schema:
    """OpenAPI 3.1, whose schemas are JSON Schema 2020-12."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "taskrunner", "version": version("taskrunner-worker"), "description": __doc__},
        "security": [{"token": []}, {}],
        "paths": dict(_paths()),
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Task": _task_schema(), **{cls.__name__: object_schema(cls) for cls in _classes()}},
            "responses": {"Problem": {"description": "Why not.", "content": {MEDIA_TYPE: _content(views.Problem)}}},
        },
    }


def _task_schema() -> Schema:
    classes = {}
    for name in platforms():
        try:
            classes[name] = load_platform(name).payload
        except ConfigError:
            continue  # its library is missing here: another worker may have it
    schema = task_schema(classes)
    return {key: value for key, value in schema.items() if key != "$schema"}


def _classes() -> list[type[Any]]:
    answers = [cls for each in OPERATIONS for cls in each.answers.values() if isinstance(cls, type)]
    bodies = [each.body for each in OPERATIONS if isinstance(each.body, type)]
    return sorted({*answers, *bodies, *EVENT_VIEWS, views.Problem}, key=lambda cls: cls.__name__)


def _paths() -> Iterator[tuple[str, Schema]]:
    found: dict[str, Schema] = {}
    for each in OPERATIONS:
        found.setdefault(PREFIX + each.path, {})[each.method.lower()] = _operation(each)
    yield from found.items()


def _operation(each: Operation) -> Schema:
    problems = {str(status): {"$ref": "#/components/responses/Problem"} for status in (*ALWAYS, *each.errors)}
    answers = {str(status): _answer(status, what) for status, what in each.answers.items()}
    return {
        "operationId": each.name,
        "summary": each.summary,
        "parameters": list(_parameters(each)),
        **({"requestBody": _body(each)} if each.body else {}),
        "responses": answers | problems,
    }


def _parameters(each: Operation) -> Iterator[Schema]:
    for name in re.findall(r"{(\w+)}", each.path):
        schema: Schema = {"type": "string"} | ({"pattern": f"^{ID_PATTERN}$"} if name == "id" else {})
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, about in each.query.items():
        kind, _, description = about.partition(": ")
        yield {"name": name, "in": "query", "description": description, "schema": {"type": kind}}
    if EVENTS in each.answers.values():
        where = "The id of the last event that came."
        yield {"name": "Last-Event-ID", "in": "header", "description": where, "schema": {"type": "string"}}


def _body(each: Operation) -> Schema:
    if each.body == "task":
        return {"required": True, "content": {form: _content("Task") for form in FORMATS}}
    return {"required": False, "content": {JSON: _content(each.body)}}


def _answer(status: int, what: type[Any] | str) -> Schema:
    phrase = HTTPStatus(status).phrase
    if isinstance(what, str):
        return {"description": phrase, "content": {what: {"schema": {"type": "string"}}}}
    return {"description": phrase, "content": {JSON: _content(what)}}


def _content(cls: type[Any] | str) -> Schema:
    name = cls if isinstance(cls, str) else cls.__name__
    return {"schema": {"$ref": f"#/components/schemas/{name}"}}
