"""Holds plugs to the words of their interfaces: each method may raise what its docstring names, and nothing else.

`Watcher().watch(engine, Engine)` looks like the engine. What its methods give back is watched too, when it is one
of the interfaces' objects. An error outside the contract becomes a `ContractBroken`.
"""

from __future__ import annotations

import asyncio
import builtins
import functools
import inspect
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from taskrunner import errors
from taskrunner.interfaces.caches import CacheFolder, Caches, Lease
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Exec, Execution, Input
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.platform import Platform
from taskrunner.interfaces.results import Results

T = TypeVar("T")

WATCHED = (Platform, Engine, Execution, Exec, Input, Results, CacheFolder, Caches, Lease, Host, Log)


class ContractBroken(AssertionError):
    """A plug did what its interface does not allow."""


def may_raise(interface: type, method: str) -> tuple[type[BaseException], ...]:
    """The errors that the docstring of a method names after the word "Raises", in their order."""
    text = inspect.getdoc(inspect.getattr_static(interface, method)) or ""
    same = re.search(r"Same errors as `(\w+)`", text)
    named = may_raise(interface, same[1]) if same else ()
    _, _, raises = text.partition("Raises")
    words = re.findall(r"\b[A-Z]\w+\b(?! is never raised)", raises)
    return (*named, *filter(None, map(_exception, words)))


def _exception(name: str) -> type[BaseException] | None:
    found = getattr(errors, name, None) or getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


class Watcher:
    """Watches the objects of one test. The same object is always watched by the same one, so that `is` works."""

    def __init__(self) -> None:
        self._known: dict[int, Any] = {}

    def watch(self, plug: T, interface: type) -> T:
        """What looks like `plug`, and cannot break the contract of `interface` unseen."""
        if id(plug) not in self._known:
            self._known[id(plug)] = _Watched(self, plug, interface)
        return cast("T", self._known[id(plug)])

    def seen(self, value: Any) -> Any:
        """A value that a plug gave, watched if it is a plug itself."""
        for interface in WATCHED:
            if isinstance(value, interface):
                return self.watch(value, interface)
        return value


class _Watched:
    """Stands for one plug. Takes and gives what the plug does."""

    def __init__(self, watcher: Watcher, plug: Any, interface: type) -> None:
        self.__dict__.update(_watcher=watcher, _plug=plug, _interface=interface)

    def __getattr__(self, name: str) -> Any:
        with _held_to(self._interface, name, self._plug):
            value = getattr(self._plug, name)
        if not callable(value) or isinstance(value, type):
            return self._result(name, value)
        return functools.partial(self._call, name, value)

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        with _held_to(self._interface, name, self._plug):
            return self._result(name, method(*map(unwatched, args), **named))

    def _result(self, name: str, value: Any) -> Any:
        if inspect.isawaitable(value):
            return self._await(name, value)
        if isinstance(value, AsyncIterator):
            return self._iterate(name, value)
        return self._watcher.seen(value)

    async def _await(self, name: str, value: Any) -> Any:
        with _held_to(self._interface, name, self._plug):
            return self._watcher.seen(await value)

    async def _iterate(self, name: str, values: AsyncIterator[Any]) -> AsyncIterator[Any]:
        with _held_to(self._interface, name, self._plug):
            async for value in values:
                yield value


def unwatched(value: Any) -> Any:
    """The plug itself, for whoever is not part of the test."""
    return value._plug if isinstance(value, _Watched) else value  # noqa: SLF001  this module's own class


@contextmanager
def _held_to(interface: type, method: str, plug: object) -> Iterator[None]:
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit, ContractBroken):
        raise
    except BaseException as error:
        allowed = may_raise(interface, method) if hasattr(interface, method) else ()
        if isinstance(error, allowed):
            raise
        names = ", ".join(kind.__name__ for kind in allowed) or "nothing"
        what = f"{type(plug).__name__}.{method} raised {type(error).__name__}: {error}"
        raise ContractBroken(f"{what}\nthe contract of {interface.__name__}.{method} names {names}") from error


__all__ = ["ContractBroken", "Watcher", "may_raise", "unwatched"]
