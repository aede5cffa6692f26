"""Checks plugins against the text of their interfaces: a method raises what its docstring names, and nothing else.

`ContractChecker().wrap(engine, Engine)` is a proxy of the engine. An object of an interface that a method returns is
wrapped too. An error that the contract does not name becomes a `ContractBroken`.
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

INTERFACES = (Platform, Engine, Execution, Exec, Input, Results, CacheFolder, Caches, Lease, Host, Log)


class ContractBroken(AssertionError):
    """A plugin raised an error that its interface does not name."""


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


class ContractChecker:
    """Wraps the objects of one test. An object has one proxy, so that proxies can be compared by `is`."""

    def __init__(self) -> None:
        self._proxies: dict[int, Any] = {}

    def wrap(self, plugin: T, interface: type) -> T:
        """A proxy of `plugin` that raises ContractBroken for an error that `interface` does not name."""
        if id(plugin) not in self._proxies:
            self._proxies[id(plugin)] = _Proxy(self, plugin, interface)
        return cast("T", self._proxies[id(plugin)])

    def wrapped(self, value: Any) -> Any:
        """A value that a plugin returned, wrapped if it is an object of an interface."""
        for interface in INTERFACES:
            if isinstance(value, interface):
                return self.wrap(value, interface)
        return value


class _Proxy:
    """The proxy of one plugin: it takes and returns what the plugin does."""

    def __init__(self, checker: ContractChecker, plugin: Any, interface: type) -> None:
        self.__dict__.update(_checker=checker, _plugin=plugin, _interface=interface)

    def __getattr__(self, name: str) -> Any:
        with _checking(self._interface, name, self._plugin):
            value = getattr(self._plugin, name)
        if not callable(value) or isinstance(value, type):
            return self._result(name, value)
        return functools.partial(self._call, name, value)

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        with _checking(self._interface, name, self._plugin):
            return self._result(name, method(*map(unwrapped, args), **named))

    def _result(self, name: str, value: Any) -> Any:
        if inspect.isawaitable(value):
            return self._await(name, value)
        if isinstance(value, AsyncIterator):
            return self._iterate(name, value)
        return self._checker.wrapped(value)

    async def _await(self, name: str, value: Any) -> Any:
        with _checking(self._interface, name, self._plugin):
            return self._checker.wrapped(await value)

    async def _iterate(self, name: str, values: AsyncIterator[Any]) -> AsyncIterator[Any]:
        with _checking(self._interface, name, self._plugin):
            async for value in values:
                yield value


def unwrapped(value: Any) -> Any:
    """The plugin behind a proxy; any other value as it is."""
    return value._plugin if isinstance(value, _Proxy) else value  # noqa: SLF001  this module's own class


@contextmanager
def _checking(interface: type, method: str, plugin: object) -> Iterator[None]:
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit, ContractBroken):
        raise
    except BaseException as error:
        allowed = may_raise(interface, method) if hasattr(interface, method) else ()
        if isinstance(error, allowed):
            raise
        names = ", ".join(kind.__name__ for kind in allowed) or "nothing"
        what = f"{type(plugin).__name__}.{method} raised {type(error).__name__}: {error}"
        raise ContractBroken(f"{what}\nthe contract of {interface.__name__}.{method} names {names}") from error


__all__ = ["ContractBroken", "ContractChecker", "may_raise", "unwrapped"]
