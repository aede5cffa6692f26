"""A payload of a platform, and a task with every field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs.validators import deep_mapping, ge, le, matches_re, min_len, optional

from taskrunner.model import Json, Secret


@attrs.frozen
class Build:
    """An image to make."""

    repository: str = attrs.field(validator=min_len(1), metadata={"doc": "Where git fetches from."})
    token: Secret | None = None
    build_args: Mapping[str, str] = attrs.field(
        factory=dict, validator=deep_mapping(matches_re("[A-Z_]+"), matches_re("[^ ]*"))
    )
    tags: tuple[str, ...] = ()
    push: bool = False
    network: Literal["none", "host"] = "none"


@attrs.frozen
class SamplePayload:
    """What to run."""

    command: tuple[str, ...] = attrs.field(validator=min_len(1))
    """Program and arguments, one by one."""
    build: Build | None = None
    memory: int | None = attrs.field(default=None, validator=optional([ge(1), le(1 << 40)]))
    share: float = attrs.field(default=1.0, validator=[ge(0.0), le(1.0)])
    builds: tuple[Build, ...] = ()
    options: Mapping[str, Json] = attrs.field(factory=dict)


@attrs.frozen
class Other:
    """A payload of one word."""

    word: str


CLASSES: Mapping[str, type] = {"sample": SamplePayload, "other": Other}

TASK: Mapping[str, Any] = {
    "id": "build-web",
    "platform": "sample",
    "name": "build it",
    "env": {"CI": "true", "EMPTY": ""},
    "max_run_time": 600,
    "retries": 2,
    "priority": -5,
    "deadline": "2030-01-31T12:00:00Z",
    "not_before": "2029-01-31T12:00:00+01:00",
    "source": {"repository": "https://git.example/web.git", "token": {"secret": "git"}, "submodules": ["lib/a"]},
    "artifacts": [
        {"name": "public/report.xml", "path": "report.xml", "content_type": "text/xml; charset=utf-8"},
        {"name": "wheels", "path": "build/**/*.whl", "optional": True},
    ],
    "caches": [{"name": "pip", "path": "/root/.cache/pip"}, {"name": "src", "path": "src", "read_only": True}],
    "secrets": {"TOKEN": {"secret": "git"}, "PASSWORD": "literal"},
    "on_exit_status": {"retry": [75], "purge_caches": [0, 3]},
    "metadata": {"owner": "web", "deep": [1, None, {"x": 1.5}]},
    "command": ["make", "test"],
    "build": {"repository": "https://git.example/web.git", "token": {"secret": "git"}, "build_args": {"VERSION": "1"}},
    "memory": 4096,
    "share": 0.5,
    "builds": [{"repository": "x", "network": "host", "push": True, "tags": ["a"]}],
    "options": {"any": ["thing"]},
}

PLATFORM = """\
import attrs
from taskrunner.interfaces.platform import Platform

@attrs.frozen
class Payload:
    {field}: str = ""

@attrs.frozen
class Options:
    speed: int = 1

class Plugin(Platform):
    name = "{name}"
    payload = Payload
    options = Options
"""
"""The module of a platform plugin; its class is called Plugin."""
