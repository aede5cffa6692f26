"""Plugins: platforms, hosts and queues, found by their entry points and loaded at their first use.

A package declares its plugins in its own metadata::

    [project.entry-points."taskrunner.platforms"]
    qemu = "taskrunner_qemu:QemuPlatform"       # a subclass of interfaces.platform.Platform, whose `name` is qemu

    [project.entry-points."taskrunner.hosts"]
    rack = "taskrunner_rack:RackHost"           # a subclass of interfaces.host.Host

    [project.entry-points."taskrunner.queues"]
    nats = "taskrunner_nats:NatsQueue"          # a subclass of interfaces.queue.Queue, for the URLs nats://...

A queue is made by its class method `from_url(url, worker_id)`. A queue without that method is a file,
`scheme:///path`, and is made by `cls(path, worker_id)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import unquote, urlsplit

import attrs

from taskrunner.errors import Bug, ConfigError
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.platform import Platform
from taskrunner.interfaces.queue import Queue
from taskrunner.schema.decode import suggestion
from taskrunner.schema.task import TASK_FIELDS

T = TypeVar("T")


class Plugins(Mapping[str, type[T]], Generic[T]):
    """The classes of one kind by name. A class is loaded when it is read; listing the names loads nothing."""

    def __init__(self, kind: str, base: type[T], check: Callable[[str, type[T]], None] | None = None) -> None:
        self._kind, self._base, self._check = kind, base, check
        self._points = _points(f"taskrunner.{kind}s")
        self._loaded: dict[str, type[T]] = {}

    def __getitem__(self, name: str) -> type[T]:
        """Raises KeyError; ConfigError when the plugin cannot be loaded; Bug when it breaks its contract."""
        if name not in self._loaded:
            plugin = _load(self._points[name], self._kind, self._base)
            if self._check:
                self._check(name, plugin)
            self._loaded[name] = plugin
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        return name in self._points

    def __iter__(self) -> Iterator[str]:
        return iter(self._points)

    def __len__(self) -> int:
        return len(self._points)

    def named(self, name: str) -> type[T]:
        """Raises ConfigError when no plugin has that name, or it cannot be loaded."""
        if name not in self:
            raise ConfigError(f"there is no {self._kind} named {name} ({suggestion(name, tuple(self))})")
        return self[name]


@cache
def platforms() -> Plugins[Platform[Any, Any]]:
    """The platforms that are installed."""
    return Plugins("platform", Platform, _check_platform)  # type: ignore[type-abstract]  # it is only compared with


@cache
def hosts() -> Plugins[Host]:
    """The hosts that are installed."""
    return Plugins("host", Host)  # type: ignore[type-abstract]  # as above


@cache
def queues() -> Plugins[Queue]:
    """The queues that are installed, by the scheme of their URLs."""
    return Plugins("queue", Queue)  # type: ignore[type-abstract]  # as above


def load_platform(name: str) -> type[Platform[Any, Any]]:
    """The class of one platform. Raises ConfigError."""
    return platforms().named(name)


def _check_platform(name: str, platform: type[Platform[Any, Any]]) -> None:
    if absent := [each for each in ("name", "payload", "options") if not hasattr(platform, each)]:
        raise Bug(
            f"the class {platform.__name__} of the {name} platform has no `{absent[0]}`: it needs all of "
            "`name`, `payload` and `options`"
        )
    if taken := sorted(set(TASK_FIELDS) & {field.name for field in attrs.fields(platform.payload)}):
        raise Bug(f"the payload of the {name} platform has a field {taken[0]}, which every task has: rename it")
    if platform.name != name:
        raise Bug(f"the {name} platform calls itself {platform.name}: its entry point needs the same name")


@attrs.frozen
class PayloadClasses(Mapping[str, type]):
    """The payload classes of platforms by name; a platform is loaded when its class is read."""

    classes: Mapping[str, type[Platform[Any, Any]]]

    def __getitem__(self, name: str) -> type:
        return self.classes[name].payload

    def __contains__(self, name: object) -> bool:
        return name in self.classes

    def __iter__(self) -> Iterator[str]:
        return iter(self.classes)

    def __len__(self) -> int:
        return len(self.classes)


def payload_classes() -> Mapping[str, type]:
    """The payload classes of the installed platforms, for `decode_task` and `task_schema`."""
    return PayloadClasses(platforms())


def open_queue(url: str, worker_id: str = "") -> Queue:
    """The queue of a URL, which may be a Submitter as well. A submitter needs no worker's id.

    Raises: ConfigError when no queue has this scheme, or the URL is wrong.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"queue: is no URL: {error} (write scheme:///path or scheme://host)") from None
    queue: Any = queues().named(parts.scheme)
    if hasattr(queue, "from_url"):
        return queue.from_url(url, worker_id)  # type: ignore[no-any-return]  # the contract of queues
    if parts.netloc or not parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(f"queue: {url} names no file: write {parts.scheme}:/// and its full path")
    return queue(Path(unquote(parts.path)), worker_id)  # type: ignore[no-any-return]  # the contract of queues


def _points(group: str) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        if point.name in found and found[point.name].value != point.value:
            both = f"{_distribution(found[point.name])} and {_distribution(point)}"
            raise ConfigError(f"two packages offer {point.name} for {group}: {both} (remove one of them)")
        found[point.name] = point
    return found


def _load(point: EntryPoint, kind: str, base: type[T]) -> type[T]:
    broken = f"the {kind} {point.name} of the package {_distribution(point)} cannot be loaded"
    try:
        plugin = point.load()
    except Exception as error:  # noqa: BLE001  a plugin may fail in any way; the text says which
        problem = f"{broken}: {type(error).__name__}: {error}"
    else:
        if isinstance(plugin, type) and issubclass(plugin, base):
            return plugin
        problem = f"{broken}: {point.value} is no subclass of {base.__name__}"
    raise ConfigError(f"{problem} (install what it needs, or remove the package)")


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "unknown"
