"""The worker's configuration: what it may say, and the layers that it comes from.

Later layers win: the file (`taskrunner.toml`), TASKRUNNER_* variables, flags of the command line. Each layer is judged
on its own, so that an error names the file, the variable or the flag that it is about.
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
"""Bytes. Enough for the journal, the spools and a queue's database of all that runs; a task needs its own on top."""

DAY = 24 * 3600


@attrs.frozen
class Config:
    """What a worker can be told. The tables of platforms, named as the platform is, stand beside these keys."""

    capacity: int = attrs.field(default=1, validator=[ge(1), le(MAX_CAPACITY)])
    """How many runs at a time."""
    queue: str = attrs.field(
        default="",
        validator=matches_re(r"(?:[a-z][a-z0-9+.-]*://[^\x00-\x20\x7f]+)?"),
        metadata={"hint": "write a URL: sqlite:///var/lib/taskrunner/queue.db"},
    )
    """Where runs come from, as a URL. Empty: a SQLite file under the worker's home."""
    lease: float = attrs.field(default=60.0, validator=and_(ge(3.0), le(float(DAY))))
    """Seconds that a claim holds without being renewed: after a crash, a run waits that long for its next worker."""
    min_free_disk: int = attrs.field(default=MIN_FREE_DISK, validator=ge(0))
    """Bytes. With less free under its home, the worker takes no more runs."""
    secrets: Mapping[str, SecretSource] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(SECRET_PATTERN)),
        metadata={"hint": SECRET_HINT},
    )
    """Named values that tasks and platforms refer to."""
    tables: Mapping[str, Json] = attrs.field(factory=dict, repr=False)
    """The tables of platforms by their name, as they were read. Not a key of its own."""

    def queue_url(self, home: Path) -> str:
        """Where runs come from, by default a file in the worker's home."""
        return self.queue or f"sqlite://{quote(str(home / 'queue.db'))}"

    def options(self, platform: type[Platform[Any, Any]]) -> object:
        """What its table tells a platform, as an instance of the platform's own class. Raises ConfigError."""
        options, complaints = _judged(platform, self.tables.get(platform.name, {}), platform.name)
        if complaints:
            raise ConfigError("\n".join(f"configuration: {complaint}" for complaint in complaints))
        return options


_KEYS = tuple(field.name for field in attrs.fields(Config) if field.name != "tables")

Where = Callable[[str], str]
"""Says where a key stands, for people: `capacity` is `taskrunner.toml: capacity`, or `TASKRUNNER_CAPACITY`."""


def decode_config(values: Mapping[str, Any], where: Where = "configuration: {}".format) -> Config:
    """The configuration from a nested mapping, such as a host's `load_config` gives. Loads the platforms that it has a
    table for, and no others.

    Raises: ConfigError with a line for everything that is wrong.
    """
    keys = {key: value for key, value in values.items() if key in _KEYS}
    tables = {key: value for key, value in values.items() if key in platforms()}
    complaints = [_unknown(key) for key in values if key not in keys | tables]
    for name, table in tables.items():
        complaints += _table_complaints(name, table)
    keys["secrets"] = _spelled_out(keys.get("secrets", {}))
    complaints += _complaints(Config, keys)
    if complaints:
        raise ConfigError("\n".join(str(attrs.evolve(c, path=where(c.path))) for c in complaints))
    return decode(Config, keys | {"tables": tables})


def load_settings(path: Path | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What all layers say together: the file (the one that applies if none is named), the environment with `.env`, and
    the flags that are not None.

    Raises: ConfigError with what is wrong in any layer.
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
    return _judged(platform, table, name)[1]


def _judged(platform: type[Platform[Any, Any]], table: object, name: str) -> tuple[object, tuple[Complaint, ...]]:
    """The options of a platform, and what is wrong with them."""
    try:
        options: object = decode(platform.options, table, name)
    except MalformedPayload as error:
        return None, error.complaints
    return options, tuple(attrs.evolve(c, path=f"{name}.{c.path}") for c in platform.check_options(options))


def _unknown(key: str) -> Complaint:
    return Complaint(at_key("", key), "is not known here", suggestion(key, (*_KEYS, *platforms())))


def _spelled_out(secrets: object) -> object:
    """`git = "..."` as `git = {literal = "..."}`."""
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
"""The keys that a variable can give; secrets and tables have no place in one."""

_OTHERS = ("HOME", "CONFIG")
"""Variables of ours that are no keys: where the home and the file are."""


def _from_file(path: Path) -> Mapping[str, Any]:
    try:
        return read_document(path)
    except MalformedPayload as error:
        text = str(error)
    raise ConfigError(text)


def _from_variables(variables: Mapping[str, str]) -> dict[str, object]:
    known = [_variable(key) for key in _FROM_TEXT] + [_PREFIX + name for name in _OTHERS]
    for name in variables:
        # What is not even near a name of ours is somebody else's: a run finds TASKRUNNER_TASK_ID in its environment.
        if name.startswith(_PREFIX) and name not in known and difflib.get_close_matches(name, known, 1, 0.9):
            raise ConfigError(f"{name}: is not known here ({suggestion(name, known)})")
    return {key: _value(key, variables[_variable(key)]) for key in _FROM_TEXT if variables.get(_variable(key))}


def _value(key: str, text: str) -> object:
    """The value that a text says; one that is no number stays a text, for the decoder to refuse."""
    try:
        return _FROM_TEXT[key](text)
    except ValueError:
        return text


def _variable(key: str) -> str:
    return _PREFIX + key.upper()


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"
