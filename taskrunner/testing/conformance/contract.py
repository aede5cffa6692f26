"""Checks plugins against the text of their interfaces: a method raises what its docstring names, and nothing else.

`ContractChecker().wrap(engine, Engine)` is a proxy of the engine. An object of an interface that a method returns is
wrapped too. An error that the contract does not name becomes a `ContractBroken`. What the docstring of a class says of
"every method" counts for each. The checker also knows which calls have not returned.
"""

from __future__ import annotations

import asyncio
import builtins
import functools
import inspect
import itertools
import re
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar, cast, get_args

from taskrunner import errors
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.caches import CacheFolder, Caches, Lease
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.execution import Exec, Execution, Input
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.log import Log
from taskrunner.interfaces.platform import Platform
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.interfaces.results import Results
from taskrunner.testing.conformance.time_limit import OutOfTime

T = TypeVar("T")

INTERFACES = (
    Platform, Engine, Execution, Exec, Input, Results, CacheFolder, Caches, Lease, Host, Log, Queue, Submitter,
    ArtifactStore,
)  # fmt: skip


class ContractBroken(AssertionError):
    """A plugin raised an error that its interface does not name."""


def may_raise(interface: type, method: str) -> tuple[type[BaseException], ...]:
    """The errors that the docstring of a method names after the word "Raises", in their order."""
    text = inspect.getdoc(inspect.getattr_static(interface, method)) or ""
    same = re.search(r"Same errors as `(\w+)`", text)
    named = may_raise(interface, same[1]) if same else ()
    _, _, raises = text.partition("Raises")
    text_of_class = inspect.getdoc(interface) or ""
    every = re.search(r"Every method(?: but `(\w+)`)? may raise ([^.]*)", text_of_class)
    common = every[2] if every and every[1] != method else ""
    words = re.findall(r"\b[A-Z]\w+\b(?! is never raised)", f"{raises} {common}")
    refused = re.search(r"is refused with (\w+)", text_of_class)
    return (*named, *filter(None, map(_exception, [*words, *(refused.groups() if refused else ())])))


def _exception(name: str) -> type[BaseException] | None:
    found = getattr(errors, name, None) or getattr(builtins, name, None)
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


class ContractChecker:
    """Wraps the objects of one test. An object has one proxy, so that proxies can be compared by `is`."""

    def __init__(self) -> None:
        self._proxies: dict[int, Any] = {}
        self._pending: dict[int, tuple[Any, type, str]] = {}
        self._expected: dict[int, str] = {}
        self._calls = itertools.count()
        self.passed_on: tuple[type[Exception], ...] = ()

    def wrap(self, plugin: T, interface: type) -> T:
        """A proxy of `plugin` that raises ContractBroken for an error that `interface` does not name."""
        if id(plugin) not in self._proxies:
            self._proxies[id(plugin)] = _Proxy(self, plugin, interface)
        return cast("T", self._proxies[id(plugin)])

    @contextmanager
    def calling(self, plugin: object, interface: type, method: str) -> Iterator[None]:
        """Checks the errors of the block, which is a call or a part of one, and counts it as pending meanwhile."""
        number = next(self._calls)
        self._pending[number] = plugin, interface, method
        try:
            with _checking(interface, method, plugin, self.passed_on):
                yield
        finally:
            del self._pending[number]

    @contextmanager
    def raised_by_the_test(self, *errors: type[Exception]) -> Iterator[None]:
        """In the block, these errors are the test's own, and break no contract: a plugin passes them on."""
        self.passed_on = errors
        try:
            yield
        finally:
            self.passed_on = ()

    @contextmanager
    def expecting(self, what: str) -> Iterator[None]:
        """The block waits for something that no call returns: `what` says so, with the contract's words."""
        number = next(self._calls)
        self._expected[number] = what
        try:
            yield
        finally:
            del self._expected[number]

    def pending_calls(self) -> str:
        """The calls that have not returned, with their contracts."""
        lines = [*self._expected.values(), *(_pending_call(*call) for call in self._pending.values())]
        return "\n".join(lines) or "no call of a plugin is pending"

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
        if not hasattr(self._interface, name) and name not in getattr(self._interface, "__annotations__", {}):
            return getattr(self._plugin, name)
        with self._calling(name):
            value = getattr(self._plugin, name)
        if not callable(value) or isinstance(value, type):
            return self._result(name, value)
        return functools.partial(self._call, name, value)

    def _call(self, name: str, method: Callable[..., Any], *args: Any, **named: Any) -> Any:
        with self._calling(name):
            return self._result(name, method(*map(unwrapped, args), **named))

    def _calling(self, name: str) -> AbstractContextManager[None]:
        return cast("ContractChecker", self._checker).calling(self._plugin, self._interface, name)

    def _result(self, name: str, value: Any) -> Any:
        if inspect.isawaitable(value):
            return self._await(name, value)
        if isinstance(value, AsyncIterator):
            return self._iterate(name, value)
        return self._checker.wrapped(value)

    async def _await(self, name: str, value: Any) -> Any:
        with self._calling(name):
            return self._checker.wrapped(await value)

    async def _iterate(self, name: str, values: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            while True:
                with self._calling(name):
                    try:
                        value = await anext(values)
                    except StopAsyncIteration:
                        return
                yield self._checker.wrapped(value)
        finally:
            if close := getattr(values, "aclose", None):
                await close()


def unwrapped(value: Any) -> Any:
    """The plugin behind a proxy; any other value as it is."""
    return value._plugin if isinstance(value, _Proxy) else value  # noqa: SLF001  this module's own class


def _pending_call(plugin: object, interface: type, method: str) -> str:
    contract = inspect.getdoc(inspect.getattr_static(interface, method, None)) or "the contract has no words for it"
    return f"{type(plugin).__name__}.{method} has not returned. Its contract:\n{textwrap.indent(contract, '    ')}"


@contextmanager
def _checking(interface: type, method: str, plugin: object, passed_on: tuple[type[Exception], ...]) -> Iterator[None]:
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit, OutOfTime, ContractBroken):
        raise
    except BaseException as error:
        if isinstance(error, errors.ClaimLost) and error.why not in get_args(errors.Lost):
            raise ContractBroken(
                f"{type(plugin).__name__}.{method}: no claim is lost because of {error.why!r}"
            ) from error
        allowed = (*may_raise(interface, method), *passed_on) if hasattr(interface, method) else passed_on
        if isinstance(error, allowed):
            raise
        names = ", ".join(kind.__name__ for kind in allowed) or "nothing"
        what = f"{type(plugin).__name__}.{method} raised {type(error).__name__}: {error}"
        raise ContractBroken(f"{what}\nthe contract of {interface.__name__}.{method} names {names}") from error


__all__ = ["ContractBroken", "ContractChecker", "may_raise", "unwrapped"]
