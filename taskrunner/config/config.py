"""The worker's configuration: its keys, and the layers that it comes from.

Later layers win: the file (`taskrunner.toml`), TASKRUNNER_* variables, flags of the command line. Each layer is
validated on its own, so that an error names its file, variable or flag.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
from attrs.validators import and_, deep_mapping, ge, le, matches_re

from taskrunner.config.environment import config_file, environment
from taskrunner.config.plugins import load_platform, platforms
from taskrunner.config.secrets import SecretSource
from taskrunner.errors import Complaint, ConfigError, MalformedPayload
from taskrunner.interfaces.platform import Platform
from taskrunner.limits import MAX_CAPACITY, SECRET_HINT, SECRET_PATTERN
from taskrunner.model import Json
from taskrunner.schema.decode import decode, suggestion
from taskrunner.schema.parse import read_document
from taskrunner.schema.validators import at_key

MIN_FREE_DISK = 256 << 20
"""Bytes: enough for the journals, the spools and the database of a queue. Tasks need more of their own."""

DAY = 24 * 3600


@attrs.frozen
class Config:
    """The settings of a worker. The table of each platform stands beside these keys, under the platform's name."""

    capacity: int = attrs.field(default=1, validator=[ge(1), le(MAX_CAPACITY)])
    """How many runs at a time."""
    queue: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[a-z][a-z0-9+.-]*://[^\x00-\x20\x7f]+)?"),
        metadata={"hint": "write a URL: sqlite:///var/lib/taskrunner/queue.db"},
    )
    """Where runs come from, as a URL. Empty: a SQLite file under the worker's home."""
    lease: float = attrs.field(default=60.0, validator=and_(ge(3.0), le(float(DAY))))
    """Seconds that a claim holds without renewal: after a crash, a run waits that long for its next worker."""
    min_free_disk: int = attrs.field(default=MIN_FREE_DISK, validator=ge(0))
    """Bytes. With less free under its home, the worker claims no more runs."""
    secrets: Mapping[str, SecretSource] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(SECRET_PATTERN)),
        metadata={"hint": SECRET_HINT},
    )
    """Values by the name that tasks and platforms refer to."""
    tables: Mapping[str, Json] = attrs.field(factory=dict, repr=False)
    """The tables of platforms by name, as they were read. Not a key of its own."""

    def queue_url(self, home: Path) -> str:
        """Where runs come from, by default a file in the worker's home."""
        return self.queue or f"sqlite://{quote(str(home / 'queue.db'))}"

    def options(self, platform: type[Platform[Any, Any]]) -> object:
        """The options of a platform from its table, as an instance of the platform's class. Raises ConfigError."""
        options, complaints = _validated(platform, self.tables.get(platform.name, {}), platform.name)
        if complaints:
            raise ConfigError("\n".join(f"configuration: {complaint}" for complaint in complaints))
        return options


_KEYS = tuple(field.name for field in attrs.fields(Config) if field.name != "tables")

Where = Callable[[str], str]
"""The place of a key, for people: `capacity` is `taskrunner.toml: capacity`, or `TASKRUNNER_CAPACITY`."""


def decode_config(values: Mapping[str, Any], where: Where = "configuration: {}".format) -> Config:
    """The configuration from a nested mapping, such as that of a host's `load_config`. Loads only the platforms that
    have a table.

    Raises: ConfigError with a line for each mistake.
    """
    keys = {key: value for key, value in values.items() if key in _KEYS}
    tables = {key: value for key, value in values.items() if key in platforms()}
    complaints = [_unknown(key) for key in values if key not in keys | tables]
    for name, table in tables.items():
        complaints += _table_complaints(name, table)
    keys["secrets"] = _with_literals(keys.get("secrets", {}))
    complaints += _complaints(Config, keys)
    if complaints:
        raise ConfigError("\n".join(str(attrs.evolve(c, path=where(c.path))) for c in complaints))
    return decode(Config, keys | {"tables": tables})


def load_settings(path: Path | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of all layers together: the file (by default that of `config_file`), the environment with `.env`,
    and the flags that are not None.

    Raises: ConfigError with the mistakes of all layers.
    """
    variables = environment()
    path = path or config_file(variables)
    layers: list[tuple[Mapping[str, Any], Where]] = [
        (_from_variables(variables), _variable),
        ({key: value for key, value in flags.items() if value is not None}, _flag),
    ]
    if path:
        layers.insert(0, (_from_file(path), f"{path}: {{}}".format))
    if problems := [problem for layer, where in layers if (problem := _problem(layer, where))]:
        raise ConfigError("\n".join(problems))
    return {key: value for layer, _ in layers for key, value in layer.items()}


def _problem(layer: Mapping[str, Any], where: Where) -> str:
    try:
        decode_config(layer, where)
    except ConfigError as error:
        return str(error)
    return ""


def _complaints(cls: type, value: object, path: str = "") -> tuple[Complaint, ...]:
    try:
        decode(cls, value, path)
    except MalformedPayload as error:
        return error.complaints
    return ()


def _table_complaints(name: str, table: object) -> tuple[Complaint, ...]:
    try:
        platform = load_platform(name)
    except ConfigError as error:
        return (Complaint(name, str(error)),)
    return _validated(platform, table, name)[1]


def _validated(platform: type[Platform[Any, Any]], table: object, name: str) -> tuple[object, tuple[Complaint, ...]]:
    """The options of a platform, and the complaints about them."""
    try:
        options: object = decode(platform.options, table, name)
    except MalformedPayload as error:
        return None, error.complaints
    return options, tuple(attrs.evolve(c, path=f"{name}.{c.path}") for c in platform.check_options(options))


def _unknown(key: str) -> Complaint:
    return Complaint(at_key("", key), "is not known here", suggestion(key, (*_KEYS, *platforms())))


def _with_literals(secrets: object) -> object:
    """Secrets with `git = "..."` written as `git = {literal = "..."}`."""
    if not isinstance(secrets, Mapping):
        return secrets
    return {name: {"literal": source} if isinstance(source, str) else source for name, source in secrets.items()}


# ---- the layers -----------------------------------------------------------------------------------------

_PREFIX = "TASKRUNNER_"

_FROM_TEXT: Mapping[str, Callable[[str], object]] = {
    "capacity": int,
    "queue": str,
    "lease": float,
    "min_free_disk": int,
}
"""The keys that a variable can set; secrets and tables cannot."""

_OTHERS = ("HOME", "CONFIG")
"""Variables that are no keys: the paths of the home and of the file."""


def _from_file(path: Path) -> Mapping[str, Any]:
    try:
        return read_document(path)
    except MalformedPayload as error:
        text = str(error)
    raise ConfigError(text)


def _from_variables(variables: Mapping[str, str]) -> dict[str, object]:
    known = [_variable(key) for key in _FROM_TEXT] + [_PREFIX + name for name in _OTHERS]
    for name in variables:
        # A name that resembles none is not ours: a run has TASKRUNNER_TASK_ID in its environment.
        if name.startswith(_PREFIX) and name not in known and difflib.get_close_matches(name, known, 1, 0.9):
            raise ConfigError(f"{name}: is not known here ({suggestion(name, known)})")
    return {key: _value(key, variables[_variable(key)]) for key in _FROM_TEXT if variables.get(_variable(key))}


def _value(key: str, text: str) -> object:
    """The value of a text. A text that is no number stays one, and the decoder refuses it."""
    try:
        return _FROM_TEXT[key](text)
    except ValueError:
        return text


def _variable(key: str) -> str:
    return _PREFIX + key.upper()


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"
