"""What the secrets of a configuration lack before a worker starts: values, and names that its tables refer to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from taskrunner.config.config import Config
from taskrunner.config.secrets import Secrets, unknown_secret
from taskrunner.model import Secret
from taskrunner.schema.validators import at_key


def without_value(config: Config, known: Secrets) -> list[str]:
    """A line for each secret that has no value."""
    return [f"{config.place('secrets').removesuffix('secrets')}{line}" for line in known.problems()]


def without_source(config: Config, options: Mapping[str, object]) -> list[str]:
    """A line for each name that [secrets] lacks. `options` are decoded tables by their paths."""
    return [
        f"{place}: there is no secret named {secret.name} (add it to [secrets])"
        for path, table in options.items()
        for place, secret in secrets_in(table, config.place(path))
        if secret.name and secret.name not in config.secrets
    ]


def refused_by_reveal(config: Config, options: Mapping[str, object]) -> set[str]:
    """The lines by which a plugin with one of these tables says itself that a secret of it is unknown."""
    return {
        f"{config.place(path)}: {unknown_secret(secret.name)}"
        for path, table in options.items()
        for _, secret in secrets_in(table, "")
    }


def secrets_in(value: Any, path: str) -> Iterator[tuple[str, Secret]]:
    """All secrets in a decoded value, each with its path."""
    if isinstance(value, Secret):
        yield path, value
        return
    if attrs.has(type(value)):
        value = attrs.asdict(value, recurse=False)
    if isinstance(value, Mapping):
        inner = [(at_key(path, key), each) for key, each in value.items()]
    else:
        inner = [(f"{path}[{n}]", each) for n, each in enumerate(value if isinstance(value, list | tuple) else ())]
    for where, each in inner:
        yield from secrets_in(each, where)
