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
from taskrunner.interfaces.plugin import PluginContext
from taskrunner.interfaces.queue_file import LocateFile, QueueFile
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import Health, Progress, RunKey, Secret, Task

HEALTHY = Health(fit=True)

Options = TypeVar("Options")
"""The attrs class of one platform's table in the worker's configuration."""


@attrs.frozen
class PlatformContext(PluginContext):
    """What a platform knows of its worker: `worker_id`, which is never empty here, `home`, `reveal`, `environment`."""

    capacity: int = 1
    """How many runs the worker has at a time."""


def _no_log(name: str) -> Log:
    raise NotSupported(f"a log for {name}")


async def _no_file(name: str) -> QueueFile:
    raise NotSupported(f"the file {name} of a queue")


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
    source_options: SourceOptions = attrs.field(factory=SourceOptions)
    """What the operator says about the sources of tasks, on every platform."""
    new_log: Callable[[str], Log] = _no_log
    """Makes the log of a service, by its name, beside that of the run, with the same secrets. Called once for each
    name. The worker ends it with the run, and keeps it. Raises NotSupported (not by a worker), TaskFailedInternally."""
    locate: LocateFile = _no_file
    """Finds a file of the queue's system, by the name that the task's document has for it."""


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
    takes_services: ClassVar[bool] = False
    """Whether its engines can start the `services` of a task. The worker refuses such a task for any other platform."""
    absolute_paths: ClassVar[bool] = False
    """Whether its results have files at absolute paths, as a container has: `/var/log/build.log`. The worker refuses an
    artifact with such a path for any other platform."""
    takes_stdin: ClassVar[bool] = False
    """Whether its engines can keep the standard input of a run open, as an `interactive` task asks for. The worker
    refuses such a task for any other platform."""
    fills_stdin: ClassVar[tuple[str, ...]] = ()
    """The fields of its payload beside which no standard input can be kept open: they fill it, or there is no command
    that has one. The worker refuses an `interactive` task with one of them."""
    keeps_limits: ClassVar[bool] = False
    """Whether its engines keep a run to the memory, CPUs and processes of its task's `resources`, or refuse it with
    Unavailable where they cannot. The worker refuses a task that asks for these on any other platform."""
    options: type[Options]
    """The class `Options` itself, an attrs class: the table of the worker's configuration that has the platform's
    name."""

    @classmethod
    @abstractmethod
    async def open(cls, options: Options, context: PlatformContext) -> Self:
        """Connects to what does the work: a daemon, an account, a kernel.

        Raises: ConfigError, Unavailable (asked again for the next run; and before each claim, when the worker's
        configuration has a table for this platform).
        """

    @classmethod
    def check_options(cls, options: Options) -> Iterable[Complaint]:
        """Validates what the decoder cannot, in the platform's table of the configuration. Returns everything that is
        wrong, each with its path below the table. Pure; called before `open`. Raises nothing.
        """
        return ()

    @classmethod
    def check(cls, payload: Payload) -> None:
        """Validates what the decoder cannot: fields that need or exclude each other. Called before `open` and for each
        run, and by `taskrunner submit` for a task that may run elsewhere. Returns at once, and changes nothing.

        Raises: MalformedPayload with every complaint, Reject (this machine cannot take the run now; a submission goes
            on).
        """

    @abstractmethod
    async def new_engine(self, context: RunContext) -> Engine[Payload]:
        """Returns an engine for one run, not started, which takes nothing but memory yet.

        Raises: Reject, Unavailable (the run is handed back as well, for a while), WorkerBroken.
        """

    def new_cache_folder(self, name: str, path: Path) -> CacheFolder:
        """Returns a cache that this platform's engines can attach, kept in the folder `path`. The folder exists: it is
        empty at first, and later as a run has left it. Takes nothing but memory; called more than once for a folder.

        Raises: NotSupported.
        """
        raise NotSupported(f"the {self.name} platform has no caches")

    async def recover(self, handle: str, context: RunContext, log_offset: int) -> Execution:
        """Returns the execution that has this `handle`, which a worker that died has started. It goes on as before, and
        writes to the log of `context`, whose folder is the one that it was started with. That log holds the first
        `log_offset` bytes of what the run has printed, which are not written again; where later ones are lost, a line
        of the log says so. Called once for each handle; a worker that dies again leaves the same handle.

        Raises: NotSupported, TaskFailed (`lost`: it is gone), Unavailable.
        """
        raise NotSupported(f"the {self.name} platform cannot take over what another worker started")

    async def health(self) -> Health:
        """Whether this platform can take a run now. Called before each claim, so it returns within milliseconds what
        it knows, and refreshes that in the background. Without an answer the platform is not fit. Raises nothing."""
        return HEALTHY

    async def clean_up_after(self, worker_id: str) -> list[str]:
        """Ends and removes what a dead worker has left: processes, containers, networks, images, folders. May be called
        again for the same worker; a second call finds nothing. What another worker runs goes on, also when its id
        begins or ends like this one.

        Returns a line for each thing that was removed.
        Raises: Unavailable when something is left, after everything else was removed. It is called again then.
        """
        return []

    async def clean_up_run(self, worker_id: str, run: RunKey) -> list[str]:
        """Removes what one run has left whose own clean-up failed. The run is over; other runs of that worker may be
        alive. Called again until it succeeds, also by another worker of the home. May be called for a run that has
        left nothing.

        Returns a line for each thing that was removed.
        Raises: NotSupported (`clean_up_after` does it when that worker has ended), Unavailable (something is left).
        """
        raise NotSupported(f"the {self.name} platform cannot clean up after a single run")

    async def dispose(self) -> None:
        """Releases everything that is this worker's: no task goes on. No engine of the platform is alive. Called once.

        An error of any kind says that something may be left. Then the worker counts as one that died: another one of
        its home calls `clean_up_after` for it.
        """


__all__ = ["HEALTHY", "Platform", "PlatformContext", "RunContext"]
