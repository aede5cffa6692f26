"""The worker's configuration: its keys, and how they are decoded. `settings` has the layers that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
from attrs.validators import and_, deep_mapping, ge, le, matches_re, min_len, optional

from taskrunner.config.choice import CHOICES
from taskrunner.config.plugins import platforms
from taskrunner.config.queue_url import check_queue_url
from taskrunner.config.resource_options import ResourceOptions, check_default
from taskrunner.config.retention import Retention
from taskrunner.config.secrets import SecretSource
from taskrunner.config.table import decode_table, table_complaints
from taskrunner.errors import Complaint, ConfigError, MalformedPayload
from taskrunner.interfaces.caches import CacheLimits
from taskrunner.interfaces.platform import Platform
from taskrunner.interfaces.plugin import Plugin
from taskrunner.interfaces.source import SourceOptions
from taskrunner.limits import (
    MAX_ARTIFACT_SIZE,
    MAX_CAPACITY,
    SECRET_HINT,
    SECRET_PATTERN,
    WORKER_HINT,
    WORKER_PATTERN,
)
from taskrunner.model import Json
from taskrunner.schema.complaints import UNKNOWN_KEY, suggestion
from taskrunner.schema.decode import decode, field_complaints
from taskrunner.schema.validators import at_key

MIN_FREE_DISK = 256 << 20
"""Bytes: enough for the journals, the spools and the database of a queue. Tasks need more of their own."""

DAY = 24 * 3600

DEFAULT_HOST = "standalone"

DEFAULT_STORE = "folder"


@attrs.frozen
class Config:
    """The settings of a worker. The table of each platform stands beside these keys, under the platform's name; those
    of hosts, queues and stores stand below the keys that choose them."""

    capacity: int = attrs.field(default=1, validator=[ge(1), le(MAX_CAPACITY)])
    """How many runs at a time."""
    queue: str = attrs.field(
        default="",
        validator=[matches_re(r"(?:[a-z][a-z0-9+.-]*://[^\x00-\x20\x7f]*)?"), check_queue_url],
        metadata={"hint": "write a URL: sqlite:///var/lib/taskrunner/queue.db"},
    )
    """Where runs come from, as a URL. Empty: a SQLite file under the worker's home."""
    store: str = attrs.field(default=DEFAULT_STORE, validator=min_len(1))
    """Where artifacts and logs are kept: the name of a store."""
    host: str = attrs.field(default=DEFAULT_HOST, validator=min_len(1))
    """What this machine is: the name of a host."""
    worker_id: str = attrs.field(
        default="", validator=matches_re(f"(?:{WORKER_PATTERN})?"), metadata={"hint": WORKER_HINT}
    )
    """The name of this worker among those on its home. Its unique id begins with it. Empty: the name of the machine."""
    lease: float = attrs.field(default=60.0, validator=and_(ge(3.0), le(float(DAY))), metadata={"unit": "s"})
    """Seconds that a claim holds without renewal: after a crash, a run waits that long for its next worker."""
    stop_timeout: float | None = attrs.field(
        default=None, validator=optional(and_(ge(1.0), le(float(DAY)))), metadata={"unit": "s"}
    )
    """Seconds after a graceful notice in which the worker must have stopped, for a host that does not know: its service
    manager kills it then. None: finishing the runs takes as long as it takes."""
    min_free_disk: int = attrs.field(default=MIN_FREE_DISK, validator=ge(0))
    """Bytes. With less free under its home, the worker claims no more runs."""
    max_artifact_size: int = attrs.field(default=MAX_ARTIFACT_SIZE, validator=ge(0))
    """Bytes of one artifact; a larger one is refused, and the run fails. A sparse file counts as what is sent."""
    resources: ResourceOptions = attrs.field(factory=ResourceOptions, validator=check_default)
    """What runs may use, together and each."""
    caches: CacheLimits = attrs.field(factory=CacheLimits)
    """How much the caches of the home may take together."""
    retention: Retention | None = None
    """How long what is over is kept; None: nothing is removed."""
    secrets: Mapping[str, SecretSource] = attrs.field(
        factory=dict,
        validator=deep_mapping(matches_re(SECRET_PATTERN)),
        metadata={"hint": SECRET_HINT},
    )
    """Values by the name that tasks and platforms refer to."""
    source: SourceOptions = attrs.field(factory=SourceOptions)
    """What tasks may have as their source, on every platform."""
    tables: Mapping[str, Json] = attrs.field(factory=dict, repr=False)
    """The tables of platforms by name, as they were read. Not a key of its own."""
    plugin_tables: Mapping[str, Mapping[str, Json]] = attrs.field(factory=dict, repr=False)
    """The tables of hosts, queues and stores: `{"queue": {"nats": {...}}}`. Not a key of its own."""
    places: Mapping[str, str] = attrs.field(factory=dict, repr=False, eq=False)
    """Where each key stands, for people: `{"queue": "TASKRUNNER_QUEUE"}`. Not a key of its own."""

    def queue_url(self, home: Path) -> str:
        """Where runs come from, by default a file in the worker's home."""
        return self.queue or f"sqlite://{quote(str(home / 'queue.db'))}"

    def options(self, platform: type[Platform[Any, Any]]) -> object:
        """The options of a platform from its table, as an instance of the platform's class. Raises ConfigError."""
        return _options(platform, self.tables.get(platform.name, {}), self.place(platform.name))

    def plugin_options(self, key: str, name: str, plugin: type[Plugin]) -> object:
        """The same for a host, queue or store. `key` is the one that chooses it. Raises ConfigError."""
        place = self.places.get(f"{key}.{name}", f"{key}.{name}")
        return _options(plugin, self.plugin_tables.get(key, {}).get(name, {}), place)

    def place(self, *keys: str) -> str:
        """Where the first of these keys that was given stands, for people; the last one when none was."""
        return next((self.places[key] for key in keys if key in self.places), keys[-1])

    def filled(self, other: Config) -> Config:
        """This configuration, with what it leaves at its default taken from another one, and the secrets and tables of
        both."""
        changes: dict[str, Any] = {}
        for field in attrs.fields(Config):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, Mapping):
                changes[field.name] = {**theirs, **mine}
            elif mine == getattr(_DEFAULT, field.name):
                changes[field.name] = theirs
        return attrs.evolve(self, **changes)


_DEFAULT = Config()

_DERIVED = {"tables", "plugin_tables", "places"}
"""What is no key of the file."""

KEYS = tuple(field.name for field in attrs.fields(Config) if field.name not in _DERIVED)

Where = Callable[[str], str]
"""The place of a key, for people: `capacity` is `taskrunner.toml: capacity`, or `TASKRUNNER_CAPACITY`."""


def decode_config(
    values: Mapping[str, Any], where: Where = "configuration: {}".format, places: Mapping[str, str] | None = None
) -> Config:
    """The configuration from a nested mapping, such as that of a host's `load_config`. Loads only the plugins that have
    a table.

    Raises: ConfigError with a line for each mistake.
    """
    if complaints := [*config_complaints(values)]:
        raise ConfigError("\n".join(str(attrs.evolve(each, path=where(each.path))) for each in complaints))
    keys = _plain(values) | {key: text for key in CHOICES if (text := _chosen(key, values))}
    below = {key: found for key in CHOICES if key in values and (found := CHOICES[key].tables(values[key]))}
    tables = {key: table for key, table in values.items() if key not in KEYS}
    config = decode(Config, keys)
    return attrs.evolve(config, tables=tables, plugin_tables=below, places=dict(places or {}))


def config_complaints(values: Mapping[str, Any]) -> list[Complaint]:
    """What is wrong with a nested mapping: everything, each with the path of its key."""
    found: list[Complaint] = []
    for key, value in values.items():
        if key in CHOICES:
            found += _choice_complaints(key, value)
        elif key not in KEYS:
            found += table_complaints(platforms(), key, value, key) if key in platforms() else [_unknown(key)]
    return [_misplaced(each) for each in (*found, *_key_complaints(_plain(values)))]


def _choice_complaints(key: str, value: object) -> list[Complaint]:
    choice = CHOICES[key]
    found = list(choice.complaints(value))
    if isinstance(value, str | Mapping) and choice.word in choice.table(value):
        text = choice.table(value)[choice.word]
        wrong = field_complaints(Config, key, text)
        found += (attrs.evolve(each, path=choice.path(value)) for each in wrong)
    return found


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that choose no plugin."""
    keys = {key: value for key, value in values.items() if key in KEYS and key not in CHOICES}
    return keys | ({"secrets": _with_literals(keys["secrets"])} if "secrets" in keys else {})


def _chosen(key: str, values: Mapping[str, Any]) -> str:
    return CHOICES[key].chosen(values.get(key), "")


def _key_complaints(keys: Mapping[str, Any]) -> tuple[Complaint, ...]:
    try:
        decode(Config, keys)
    except MalformedPayload as error:
        return error.complaints
    return ()


def _options(plugin: type[Platform[Any, Any] | Plugin], table: object, place: str) -> object:
    options, complaints = decode_table(plugin, table, "")
    if complaints:
        lines = (f"{place}.{each}" if each.path else f"{place}: {each}" for each in complaints)
        raise ConfigError("\n".join(lines))
    return options


def _misplaced(complaint: Complaint) -> Complaint:
    """A key that stands below the first table of a TOML file belongs to that table, whatever the author meant."""
    key = complaint.path.rpartition(".")[2]
    if complaint.problem != UNKNOWN_KEY or complaint.path == key or key not in KEYS:
        return complaint
    return attrs.evolve(complaint, fix=f"{complaint.fix}; if it belongs to no table, write it above the first [table]")


def _unknown(key: str) -> Complaint:
    return Complaint(at_key("", key), UNKNOWN_KEY, suggestion(key, (*KEYS, *platforms())))


def _with_literals(secrets: object) -> object:
    """Secrets with `git = "..."` written as `git = {literal = "..."}`."""
    if not isinstance(secrets, Mapping):
        return secrets
    return {name: {"literal": source} if isinstance(source, str) else source for name, source in secrets.items()}
