"""The classes that packages offer by entry points, loaded at their first use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from taskrunner.errors import ConfigError
from taskrunner.schema.complaints import suggestion

T = TypeVar("T")


class Plugins(Mapping[str, type[T]], Generic[T]):
    """The classes of one kind by name. A class is loaded when it is read; listing the names loads nothing."""

    def __init__(self, kind: str, base: type[T], check: Callable[[str, type[T]], None]) -> None:
        self._kind, self._base, self._check = kind, base, check
        self._points = _points(f"taskrunner.{kind}s")
        self._loaded: dict[str, type[T]] = {}

    def __getitem__(self, name: str) -> type[T]:
        """Raises KeyError; ConfigError when the plugin cannot be loaded, or breaks its contract."""
        if name not in self._loaded:
            plugin = _load(self._points[name], self._kind, self._base)
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

    def origin(self, name: str) -> str:
        """The plugin and its package, for messages."""
        return f"the {self._kind} {name} of the package {_distribution(self._points[name])}"


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
