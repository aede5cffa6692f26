"""Opening the host, the queue and the store that a configuration has chosen.

Every error names the place of the key, in the file, the variable or the flag. What a plugin raises is shown without the
secrets that it has revealed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs

from taskrunner.bounded import BoundedCalls
from taskrunner.config.config import Config
from taskrunner.config.entry_points import Plugins
from taskrunner.config.environment import environment
from taskrunner.config.open_errors import explain
from taskrunner.config.plugins import hosts, queues, stores
from taskrunner.config.queue_url import hidden_parts
from taskrunner.config.secrets import Secrets
from taskrunner.config.settings import Settings, host_config
from taskrunner.errors import ConfigError
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.plugin import Plugin, PluginContext, QueueContext
from taskrunner.interfaces.queue import Queue, Submitter
from taskrunner.model import Secret

P = TypeVar("P", bound=Plugin)
T = TypeVar("T")

OPEN_LIMIT = 60.0
"""Seconds that a plugin may take to open. A service that is just starting needs tens of them."""


def plugin_context(config: Config, home: Path, *, may_create: bool = False) -> PluginContext:
    """What a plugin gets that is opened for no worker. Raises ConfigError (a malformed `.env`)."""
    variables = environment()
    return PluginContext("", home, Secrets(config.secrets, variables).reveal, variables, may_create=may_create)


async def open_host(settings: Settings, home: Path) -> Host:
    """The host that the settings choose. Raises ConfigError, Unavailable."""
    config = settings.config()
    return await Chosen(hosts(), config, "host", config.host).open(plugin_context(config, home))


async def full_config(settings: Settings, host: Host) -> Config:
    """All layers together, that of the host included. Raises ConfigError, Unavailable."""
    return settings.config(await host_config(host))


async def open_queue(config: Config, context: PluginContext) -> Queue:
    """The queue that a configuration chooses, for a worker. Raises ConfigError, Unavailable, WorkerBroken."""
    chosen, url = chosen_queue(config, context.home), config.queue_url(context.home)
    return await chosen.open(queue_context(config, context, url), hidden_parts(url))


async def connect_queue(config: Config, context: PluginContext) -> Queue | Submitter:
    """The same for a verb of the command line that is no worker."""
    chosen, url = chosen_queue(config, context.home), config.queue_url(context.home)
    return await chosen.opened(chosen.load().connect, queue_context(config, context, url), hidden_parts(url))


def queue_context(config: Config, context: PluginContext, url: str) -> QueueContext:
    """What the queue of this URL knows. Raises nothing."""
    known = {field.name: getattr(context, field.name) for field in attrs.fields(PluginContext)}
    return QueueContext(**known, url=url, open_store=partial(opened_store, config, context))


@asynccontextmanager
async def opened_store(config: Config, context: PluginContext, home: Path) -> AsyncIterator[ArtifactStore]:
    """The store, as a worker in this home has it, for the length of a block. Raises ConfigError, Unavailable."""
    store = await open_store(config, attrs.evolve(context, home=home))
    try:
        yield store
    finally:
        await store.close()


async def open_store(config: Config, context: PluginContext) -> ArtifactStore:
    """The store that a configuration chooses. Raises ConfigError, Unavailable, WorkerBroken."""
    return await chosen_store(config).open(context)


def chosen_queue(config: Config, home: Path) -> Chosen[Queue]:
    return Chosen(queues(), config, "queue", config.queue_url(home).partition("://")[0])


def chosen_store(config: Config) -> Chosen[ArtifactStore]:
    return Chosen(stores(), config, "store", config.store)


@attrs.frozen
class Chosen(Generic[P]):
    """A plugin that a configuration chooses by one of its keys."""

    plugins: Plugins[P]
    config: Config
    key: str
    """`queue`, `host` or `store`."""
    name: str

    @property
    def path(self) -> str:
        """The path of its table."""
        return f"{self.key}.{self.name}"

    @property
    def place(self) -> str:
        """Where the key stands, for people."""
        return self.config.place(self.path, self.key)

    def load(self) -> type[P]:
        """Its class. Raises ConfigError."""
        try:
            return self.plugins.named(self.name)
        except ConfigError as error:
            problem = f"{self.place}: {error}"
        raise ConfigError(problem)

    def options(self) -> object:
        """Its decoded table. Raises ConfigError."""
        return self.config.plugin_options(self.key, self.name, self.load())

    async def open(self, context: PluginContext, hidden: Iterable[str] = ()) -> P:
        """`hidden` are texts that no error shows. Raises ConfigError, Unavailable, WorkerBroken."""
        return await self.opened(self.load().open, context, hidden)

    async def opened(
        self, method: Callable[..., Coroutine[Any, Any, T]], context: PluginContext, hidden: Iterable[str] = ()
    ) -> T:
        """The same by another method of its class, with the arguments of `open`."""
        options = self.options()
        revealed = Revealed(context, set(hidden))
        opening = method(options, attrs.evolve(context, reveal=revealed.reveal))
        return await explained(opening, self.place, self.plugins.origin(self.name), revealed)


@attrs.frozen
class Revealed:
    """The secrets that a plugin has asked for."""

    context: PluginContext
    values: set[str] = attrs.field(factory=set, repr=False)

    def reveal(self, secret: Secret) -> str:
        value = self.context.reveal(secret)
        self.values.add(value)
        return value

    def hide(self, text: object) -> str:
        shown = str(text)
        for value in sorted(self.values, key=len, reverse=True):
            shown = shown.replace(value, "***") if value else shown
        return shown


async def explained(opening: Coroutine[Any, Any, T], place: str, what: str, revealed: Revealed) -> T:
    """The result of an `open`, within its limit of time. Raises the errors of `explain`."""
    try:
        return await BoundedCalls().call(opening, limit=OPEN_LIMIT, doing=f"opening {what}")
    except Exception as error:  # noqa: BLE001  a plugin may fail in any way
        problem = explain(error, place, what, revealed.hide)
    raise problem  # outside of `except`: the chain of causes may hold a secret
