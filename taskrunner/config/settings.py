"""The layers of the configuration. Later ones win: the file (`taskrunner.toml`), the host, TASKRUNNER_* variables, and
the flags of the command line. Each layer is validated on its own, so that an error names its file, host, variable or
flag.

A layer replaces a key of an earlier one as a whole, a table too. Only `queue`, `host` and `store` are merged: a flag
chooses another queue, and the tables of the file stay.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.config.choice import CHOICES
from taskrunner.config.config import Config, Where, config_complaints, decode_config
from taskrunner.config.environment import config_file, environment
from taskrunner.config.open_errors import explain
from taskrunner.errors import ConfigError, MalformedPayload
from taskrunner.interfaces.host import Host
from taskrunner.schema.complaints import suggestion
from taskrunner.schema.parse import read_document

LOAD_LIMIT = 60.0
"""Seconds for a host to say its configuration: a service of its cloud may be slow just after the machine's start."""


@attrs.frozen
class Layer:
    """The keys that one place gives."""

    values: Mapping[str, Any] = attrs.field(repr=False)
    where: Where

    @property
    def problems(self) -> list[str]:
        """A line for each mistake."""
        return [str(attrs.evolve(each, path=self.where(each.path))) for each in config_complaints(self.values)]

    @property
    def places(self) -> dict[str, str]:
        """Where each key stands, and each table of a plugin."""
        found = {key: self.where(key) for key in self.values}
        for key in CHOICES.keys() & self.values.keys():
            choice, value = CHOICES[key], self.values[key]
            found[key] = self.where(choice.path(value))
            if choice.word not in choice.table(value):
                del found[key]
            found |= {f"{key}.{name}": self.where(f"{key}.{name}") for name in choice.tables(value)}
        return found


@attrs.frozen
class Settings:
    """The layers that have been read, without that of the host."""

    below: tuple[Layer, ...] = ()
    """What the host wins over: the file."""
    above: tuple[Layer, ...] = ()
    """What wins over the host: variables and flags."""

    def config(self, *of_host: Layer) -> Config:
        """All layers together, with that of the host when it is known. Raises ConfigError."""
        return _together((*self.below, *of_host, *self.above))


def load_settings(path: Path | None, flags: Mapping[str, Any]) -> Settings:
    """Reads the file (by default that of `config_file`), the environment with `.env`, and the flags that are not None.

    Raises: ConfigError with the mistakes of all layers.
    """
    variables = environment()
    path = path or config_file(variables)
    below = (Layer(_from_file(path), f"{path}: {{}}".format),) if path else ()
    given = {key: value for key, value in flags.items() if value is not None}
    settings = Settings(below, (Layer(_from_variables(variables), _variable), Layer(given, _flag)))
    _refuse_problems(settings.below + settings.above)
    return settings


async def host_config(host: Host) -> Layer:
    """The layer of a host. Raises ConfigError, Unavailable."""
    what = f"the configuration of {type(host).__name__}"
    values = await _values_of(host, what)
    layer = Layer(values, f"{what}: {{}}".format)
    if "host" in values:
        raise ConfigError(f"{layer.where('host')}: the host is chosen already (leave it out)")
    _refuse_problems([layer])
    return layer


async def _values_of(host: Host, what: str) -> Mapping[str, Any]:
    try:
        values = await run_blocking(host.load_config, limit=LOAD_LIMIT, doing=f"loading {what}")
        if isinstance(values, Mapping):
            return values
        problem: Exception = ConfigError(f"{what}: is no mapping: {type(values).__name__}")
    except Exception as error:  # noqa: BLE001  a plugin may fail in any way
        problem = explain(error, "host", what)
    raise problem


def _together(layers: Iterable[Layer]) -> Config:
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for layer in layers:
        places |= layer.places
        for key, value in layer.values.items():
            choice = CHOICES.get(key)
            values[key] = {**choice.table(values.get(key)), **choice.table(value)} if choice else value
    return decode_config(values, places=places)


def _refuse_problems(layers: Iterable[Layer]) -> None:
    if problems := [problem for layer in layers for problem in layer.problems]:
        raise ConfigError("\n".join(problems))


# ---- the file, the variables and the flags --------------------------------------------------------------

_PREFIX = "TASKRUNNER_"

_FROM_TEXT: Mapping[str, Callable[[str], object]] = {
    "capacity": int,
    "queue": str,
    "store": str,
    "host": str,
    "worker_id": str,
    "lease": float,
    "stop_timeout": float,
    "min_free_disk": int,
    "max_artifact_size": int,
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
