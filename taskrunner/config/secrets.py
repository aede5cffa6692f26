"""Named secrets: where their values are, and the only place that reveals them.

A value is read when it is needed: it can be changed without a restart of the worker, and stays in memory no longer than
necessary.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

import attrs
from attrs.validators import matches_re

from taskrunner.errors import Complaint, ConfigError, MalformedPayload
from taskrunner.limits import ENV_PATTERN
from taskrunner.model import Secret

MAX_SECRET = 1 << 16
"""Bytes. A chain of certificates with its key is far smaller; Linux takes 128 KiB in one environment variable."""


@attrs.frozen
class SecretSource:
    """The place of a secret's value: exactly one of these."""

    env: str = attrs.field(
        default="", validator=matches_re(f"(?:{ENV_PATTERN})?"), metadata={"hint": "write the name of a variable"}
    )
    """An environment variable of the worker, or one of its `.env` file."""
    file: str = attrs.field(default="", validator=matches_re(r"(?:/[^\x00]+)?"), metadata={"hint": "write a full path"})
    """A file with the value and nothing else; a line feed at its end does not count."""
    literal: str = attrs.field(default="", repr=False)
    """The value itself; written as a plain text."""

    def __attrs_post_init__(self) -> None:
        if sum(map(bool, (self.env, self.file, self.literal))) != 1:
            raise ValueError('must be one of {env = "NAME"}, {file = "/path"} or a text that is not empty')


def unknown_secret(name: str) -> Complaint:
    """What `reveal` says of a name that the configuration does not have."""
    problem = f"this worker has no secret named {name}"
    return Complaint("", problem, "have it added to [secrets] in the worker's configuration")


class Secrets:
    """The values of a configuration's secrets. Its repr and its errors show names only."""

    def __init__(self, sources: Mapping[str, SecretSource], variables: Mapping[str, str]) -> None:
        """`variables` are the environment that `env` refers to, such as `environment()`."""
        self._sources, self._variables = sources, variables

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._sources))})"

    def reveal(self, secret: Secret) -> str:
        """The value of a secret.

        Raises: MalformedPayload (the configuration has no secret of that name), ConfigError (its value is missing).
        """
        if not secret.name:
            return secret.literal
        source = self._sources.get(secret.name)
        if source is None:
            raise MalformedPayload(unknown_secret(secret.name))
        return source.literal or self._read(secret.name, source)

    def problems(self) -> list[str]:
        """Reads every value once. Returns a line for each that is missing."""
        found = []
        for name in self._sources:
            try:
                self.reveal(Secret(name))
            except ConfigError as error:
                found.append(str(error))
        return found

    def warnings(self) -> list[str]:
        """A line for each file that every user of this machine can read. Not an error: secrets that are mounted into a
        container are readable by all by default, and the container has no other users."""
        files = [(name, Path(source.file)) for name, source in self._sources.items() if source.file]
        return [
            f"secrets.{name}: every user of this machine can read {file} (chmod 600 {file})"
            for name, file in files
            if file.exists() and file.stat().st_mode & stat.S_IROTH
        ]

    def _read(self, name: str, source: SecretSource) -> str:
        if source.env:
            value, origin = self._variables.get(source.env, ""), f"the variable {source.env}"
        else:
            value, origin = _file_value(name, source.file), source.file
        if not value:
            raise ConfigError(f"secrets.{name}: {origin} is not set or empty (give it the value)")
        return value


def _file_value(name: str, path: str) -> str:
    """The contents of a regular file: a pipe could block the worker without end."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123  a descriptor has no path
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            data = file.read(MAX_SECRET + 1) if regular else b""
    except OSError as error:
        raise ConfigError(f"secrets.{name}: {path} cannot be read ({error.strerror})") from None
    if not regular or len(data) > MAX_SECRET:
        raise ConfigError(f"secrets.{name}: {path} is not a file of at most {MAX_SECRET} bytes")
    try:
        return data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        pass
    raise ConfigError(f"secrets.{name}: {path} is not a text in UTF-8")
