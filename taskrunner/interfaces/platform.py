"""Platform: what this machine offers to run tasks with.

A platform is found by its entry point (group `taskrunner.platforms`), which names a subclass of `Platform`. The worker
opens it at the first task that asks for it, once, and disposes of it at the end::

    Platform --new_engine--> Engine --start--> Execution --wait--> Results
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, Generic, Self, TypeVar

import attrs

from taskrunner.errors import Complaint, NotSupported
from taskrunner.interfaces.caches import CacheFolder, Caches
from taskrunner.interfaces.engine import Engine, Payload
from taskrunner.interfaces.execution import Execution
from taskrunner.interfaces.log import Log
from taskrunner.model import Health, Progress, RunKey, Secret, Task

HEALTHY = Health(fit=True)

Options = TypeVar("Options")
"""The attrs class of one platform's section in the worker's configuration."""


@attrs.frozen
class PlatformContext:
    """What a platform knows of its worker."""

    worker_id: str
    """Unique among all workers that ever lived; goes into every label."""
    home: Path
    """The worker's home folder. A platform keeps what must outlive it below `home/<its name>`."""
    reveal: Callable[[Secret], str]
    """Returns the value of a secret. Raises MalformedPayload when the configuration has none of that name."""


@attrs.frozen
class RunContext:
    """What an engine knows of its one run."""

    task: Task
    run: RunKey
    folder: Path
    """A fresh empty folder that is the run's alone; the worker removes it after the engine is done with it."""
    log: Log
    caches: Caches
    """For the engine itself, such as mirrors of repositories: plain folders, which all platforms of the home share. The
    caches that tasks name are others, so that no task reaches one of these."""
    reveal: Callable[[Secret], str]
    """Returns the value of a secret, and masks it in the run's log from then on. Raises MalformedPayload for a name
    that the worker's configuration does not have."""
    progress: Callable[[Progress], None]
    """Reports how far a step is. May be called from any thread, at any rate; never blocks, never raises."""


class Platform(ABC, Generic[Payload, Options]):
    """Makes engines, and recovers or removes what a dead worker has left.

    All methods are called from the worker's event loop, `new_engine` for several runs at the same time. A subclass that
    needs blocking libraries calls them through `taskrunner.blocking`, each call with a limit of time.
    """

    name: ClassVar[str]
    """The name in tasks and configurations: `platform = "process"`."""
    payload: type[Payload]
    """The class `Payload` itself, an attrs class: what a task tells this platform, beside the common fields. The worker
    reads it to decode tasks, strictly."""
    takes_source: ClassVar[bool] = False
    """Whether its engines get the `source` of a task. The worker refuses such a task for any other platform."""
    options: type[Options]
    """The class `Options` itself, an attrs class: the table of the worker's configuration that has the platform's
    name."""

    @classmethod
    @abstractmethod
    async def open(cls, options: Options, context: PlatformContext) -> Self:
        """Connects to what does the work: a daemon, an account, a kernel.

        Raises: ConfigError, Unavailable (asked again for the next run; and before each claim, when the worker's
        configuration has a section for this platform).
        """

    @classmethod
    def check_options(cls, options: Options) -> Iterable[Complaint]:
        """Validates what the decoder cannot, in the platform's table of the configuration. Returns everything that is
        wrong, each with its path below the table. Pure; called before `open`. Raises nothing.
        """
        return ()

    def check(self, payload: Payload) -> None:
        """Validates what the decoder cannot: fields that need or exclude each other. Pure; called before `new_engine`.

        Raises: MalformedPayload with every complaint.
        """

    @abstractmethod
    async def new_engine(self, context: RunContext) -> Engine[Payload]:
        """Returns an engine for one run, not started, which takes nothing but memory yet.

        Raises: Unavailable, WorkerBroken.
        """

    def new_cache_folder(self, name: str, path: Path) -> CacheFolder:
        """Returns a cache that this platform's engines can attach, kept in the folder `path`. The folder exists: it is
        empty at first, and later as a run has left it. Takes nothing but memory; called more than once for a folder.

        Raises: NotSupported.
        """
        raise NotSupported(f"the {self.name} platform has no caches")

    async def recover(self, handle: str) -> Execution:
        """Returns the execution that has this `handle`, which a worker that died has started.

        Raises: NotSupported, TaskFailed (`lost`: it is gone), Unavailable.
        """
        raise NotSupported(f"the {self.name} platform cannot take over what another worker started")

    async def health(self) -> Health:
        """Whether this platform can take a run now. Called before each claim, so it returns within milliseconds what
        it knows, and refreshes that in the background. Without an answer the platform is not fit. Raises nothing."""
        return HEALTHY

    async def clean_up_after(self, worker_id: str) -> list[str]:
        """Ends and removes what a dead worker has left: processes, containers, networks, images, folders. May be called
        again for the same worker; a second call finds nothing.

        Returns a line for each thing that was found, which says so when it could not be removed.
        Raises: Unavailable.
        """
        return []

    async def dispose(self) -> None:
        """Releases everything. No engine of the platform is alive. Called once; raises nothing."""


__all__ = ["HEALTHY", "Platform", "PlatformContext", "RunContext"]
