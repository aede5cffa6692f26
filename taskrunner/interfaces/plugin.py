"""Plugin: what the hosts, queues and stores of a configuration have in common, and platforms by their own types.

The configuration chooses each by name. The worker decodes the table of that name with the plugin's own class `options`,
and opens the plugin with it::

    options = decode(SqsQueue.options, {...})      # [queue.sqs] of the configuration, strictly
    queue = await SqsQueue.open(options, context)

::

    Platform        taskrunner.platforms   chosen by each task              [NAME]         PlatformContext
    Host            taskrunner.hosts       host = "NAME", --host            [host.NAME]    PluginContext
    Queue           taskrunner.queues      queue = "NAME://...", --queue    [queue.NAME]   QueueContext
    ArtifactStore   taskrunner.stores      store = "NAME"                   [store.NAME]   PluginContext
"""

from __future__ import annotations

import os
from abc import ABC
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from taskrunner.errors import Complaint, NotSupported
from taskrunner.model import Secret

if TYPE_CHECKING:
    from taskrunner.interfaces.artifacts import ArtifactStore  # which is a Plugin itself


@attrs.frozen
class NoOptions:
    """The table of a plugin without settings."""


@attrs.frozen
class PluginContext:
    """What a plugin knows of its worker."""

    worker_id: str
    """Unique among all workers that ever lived; goes into every label and claim. Empty for a host, and for a verb of
    the command line that is no worker, such as `submit`: then nothing is claimed, and nothing is made for a worker."""
    home: Path
    """The worker's home folder. What must outlive the worker is kept below `home/<name of the plugin>`."""
    reveal: Callable[[Secret], str]
    """Returns the value of a secret. Raises MalformedPayload when the configuration has none of that name, ConfigError
    when it has no value."""
    environment: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ), repr=False, eq=False)
    """The variables of the worker and of its `.env` file, which `os.environ` does not have. Pass those that a client
    library needs to it by argument, never by `os.environ`: every task would inherit them."""
    worker_name: str = ""
    """The name that the operator gave the worker (`TASKRUNNER_WORKER_ID`), the same after a restart; else that of the
    machine. Empty where `worker_id` is. For services that register their workers."""
    may_create: bool = True
    """Whether what is missing may be made, such as the file of a queue. False for a verb of the command line that only
    reads: a misspelt address is a ConfigError then, which names it."""


OpenStore = Callable[[Path], "AbstractAsyncContextManager[ArtifactStore]"]
"""From a home to its store, for the length of a block."""


@attrs.frozen
class QueueContext(PluginContext):
    """What a queue knows of its worker."""

    url: str = ""
    """Its URL in the configuration. Its scheme is the name of the entry point. It may hold a password, so it stands in
    no message."""
    open_store: OpenStore | None = attrs.field(default=None, repr=False, eq=False)
    """Opens the store of the configuration as a worker in the given home has it, for a queue that serves artifacts to
    its clients; the store is closed at the end of the block. Raises ConfigError, Unavailable. None where there is no
    configuration."""


class Plugin(ABC):  # noqa: B024  its subclasses are the interfaces
    """A host, queue or store that a configuration can choose. One that only programs use needs none of this."""

    options: ClassVar[type[Any]] = NoOptions
    """The attrs class of its table in the configuration. Field types and validators are those of a payload; a field of
    type `Secret` takes `{secret = "name"}`."""

    @classmethod
    async def open(cls, options: Any, context: Any) -> Self:
        """Returns an instance of what a configuration has chosen, from an instance of `options` and a PluginContext (a
        queue gets a QueueContext). Called once in a worker, before its first claim, and by each verb of the command
        line that needs it. Has a limit of 60 seconds; what it had opened when it fails is closed by it.

        Connects as far as is needed to find out whether the settings are right: what raises ConfigError here ends the
        worker with exit status 2, and the same of `config check`. The worker names file and key in front of the text.

        Raises: ConfigError (the operator must change something), Unavailable (it may pass; exit status 4, so that the
        service is started again).
        """
        raise NotSupported(f"{cls.__name__} cannot be chosen in a configuration")

    @classmethod
    def check_options(cls, options: Any) -> Iterable[Complaint]:
        """Validates what the decoder cannot: fields that need or exclude each other. Returns everything that is wrong,
        each with its path below the table. Pure; called before `open`. Raises nothing.
        """
        return ()


__all__ = ["NoOptions", "Plugin", "PluginContext", "QueueContext"]
