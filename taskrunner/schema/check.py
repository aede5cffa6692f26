"""The whole check of a task, by its worker and by `taskrunner submit`: its fields, its payload, and what the class of
its platform says about both. Every complaint at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from taskrunner.errors import Complaint, ConfigError, MalformedPayload, Reject
from taskrunner.interfaces.platform import Platform
from taskrunner.model import Document, Task
from taskrunner.schema.mounts import mount_complaints
from taskrunner.schema.parse import kind_of
from taskrunner.schema.service_shares import share_complaints
from taskrunner.schema.task import collected, common_fields, payload_of

_ONE_OF_THEM = "leave one of them out"

PlatformClasses = Mapping[str, type[Platform[Any, Any]]]
"""By name. A platform may be loaded when its class is read."""


@attrs.frozen
class PayloadClasses(Mapping[str, type]):
    """The payload classes of platforms by name; a platform is loaded when its class is read."""

    classes: PlatformClasses

    def __getitem__(self, name: str) -> type:
        return self.classes[name].payload

    def __contains__(self, name: object) -> bool:
        return name in self.classes

    def __iter__(self) -> Iterator[str]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)


def check_task(document: Document, platforms: PlatformClasses) -> tuple[Task, object]:
    """The task and its platform's payload. A task without an id gets a new one.

    Raises: MalformedPayload, Reject (the task is right, and the platform cannot take it now), ConfigError (the platform
        cannot be loaded).
    """
    if not isinstance(document, Mapping):
        raise MalformedPayload(Complaint("", f"a task is a table, not {kind_of(document)}"))
    complaints: list[Complaint] = []
    task = collected(complaints, lambda: common_fields(document))
    payload = collected(complaints, lambda: payload_of(document, PayloadClasses(platforms)))
    platform = platforms[str(document["platform"])] if payload is not None else None
    if platform and task:
        collected(complaints, lambda: _check_platform(task, platform))
    if platform and task and task.interactive:
        complaints += _input_complaints(task, payload, platform)
    if platform and payload is not None:
        collected(complaints, lambda: platform.check(payload))
    if task is None or complaints:
        raise MalformedPayload(*complaints)
    return task, payload


def submission_complaints(document: Document, platforms: PlatformClasses) -> tuple[tuple[Complaint, ...], str]:
    """Why no worker could take this task, as far as that is known with these platforms; and what only this machine
    lacks for the whole check, if it lacks something: the task may be for the worker of another one."""
    name = document.get("platform")
    try:
        if isinstance(name, str) and name not in platforms and not difflib.get_close_matches(name, platforms):
            common_fields(document)
            return (), f"there is no {name!r} platform here to check its own fields; another worker may have it"
        check_task(document, platforms)
    except MalformedPayload as error:
        return error.complaints, ""
    except (ConfigError, Reject) as error:
        return (), f"the {name} platform does not work here; another worker may have it: {error}"
    return (), ""


def _check_platform(task: Task, platform: type[Platform[Any, Any]]) -> None:
    """Whether the platform has what the common fields ask for. Raises MalformedPayload with every complaint."""
    if complaints := list(_unsupported(task, platform)):
        raise MalformedPayload(*complaints)


def _input_complaints(task: Task, payload: object, platform: type[Platform[Any, Any]]) -> Iterator[Complaint]:
    """Why an interactive task cannot have a standard input that stays open."""
    if not platform.takes_stdin:
        yield Complaint("interactive", f"the {task.platform} platform keeps no standard input open", "leave it out")
    for field in platform.fills_stdin:
        if getattr(payload, field):
            yield Complaint("interactive", f"stands beside `{field}`, which leaves no input to keep open", _ONE_OF_THEM)


def _unsupported(task: Task, platform: type[Platform[Any, Any]]) -> Iterator[Complaint]:
    if task.source and not platform.takes_source:
        fix = "remove it, and let the task fetch its files"
        yield Complaint("source", f"the {task.platform} platform fetches no files", fix)
    for name in ("memory", "cpus", "pids"):
        if getattr(task.resources, name) is not None and not platform.keeps_limits:
            yield Complaint(f"resources.{name}", f"the {task.platform} platform limits no run", "leave it out")
    yield from share_complaints(task)
    yield from mount_complaints(task)
    if task.services and not platform.takes_services:
        fix = "remove them, or run the task on the docker platform"
        yield Complaint("services", f"the {task.platform} platform starts no services", fix)
    for index, artifact in enumerate(task.artifacts):
        if artifact.path.startswith("/") and not platform.absolute_paths:
            problem = f"{artifact.path} is absolute: the {task.platform} platform keeps only files of the run's folder"
            yield Complaint(f"artifacts[{index}].path", problem, "write a path relative to that folder")
