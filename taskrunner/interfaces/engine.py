"""Engine: the execution of one run, before it has started.

Each step consumes the object before it, and passes on or releases its resources. The worker holds one object at a time:
it starts or discards an Engine, waits for, kills or aborts an Execution, and disposes of Results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Generic, TypeVar

from taskrunner.errors import NotSupported
from taskrunner.interfaces.attachments import ProxyHandler, Service
from taskrunner.interfaces.caches import CacheFolder
from taskrunner.interfaces.execution import Execution

Payload = TypeVar("Payload")
"""The attrs class of what a task tells one platform."""


class Engine(ABC, Generic[Payload]):
    """Prepares one run. Made by `Platform.new_engine`; used by one coroutine.

    Any of these coroutines may be cancelled: it then undoes what it has begun, and `discard` is called next. After
    `start` has returned, nothing is called any more; after `discard`, only `discard`.
    """

    @abstractmethod
    async def load(self, payload: Payload) -> None:
        """Fetches everything that the run needs: source, image, tools. Called once, first. This is the step that takes
        time, so it writes to the log what it does, and reports progress.

        Raises: MalformedPayload, Reject, TaskFailed, TaskFailedInternally, Unavailable, WorkerBroken.
        """

    async def attach_cache(self, folder: CacheFolder, target: str, *, read_only: bool = False) -> None:
        """Makes a cache folder visible to the run at `target`. The caller owns the folder, and releases it after
        `discard` or after the results are disposed of. After `load`, before `start`; once for each target.

        Raises: MalformedPayload (a bad target), NotSupported.
        """
        raise NotSupported("caches")

    async def attach_mount(self, path: Path, target: str) -> None:
        """Puts content into the run at `target`, where every user can read it. `path` is a file of the worker's machine
        without a right to write to it, or a folder with such files. The caller owns it, and releases it after `discard`
        or after the results are disposed of. Neither the engine nor the run changes it: where a run could write to
        `target` all the same, it has a copy. After `load` and all caches, before `start`; once for each target.

        Raises: MalformedPayload (a bad target, or one within another or around it), NotSupported, TaskFailed (what the
            system cannot copy), TaskFailedInternally.
        """
        raise NotSupported("mounts")

    async def attach_proxy(self, name: str, handler: ProxyHandler) -> None:
        """Makes an HTTP handler of the worker reachable for the run, and for nothing else. The run's variable
        `proxy_variable(name)` has its URL: `http://NAME/` in a container, or another one where a name cannot be given.
        It ends with the run. After `load`, before `start`; once for each name.

        Raises: MalformedPayload (a name that is no host name, or is used), NotSupported.
        """
        raise NotSupported("proxies")

    async def attach_service(self, name: str, service: Service) -> None:
        """Starts a service that only this run can reach, by the host name `name`, and returns when it is ready. It ends
        with the run. After `load`, before `start`; once for each name.

        Raises: MalformedPayload (a name that is no host name, or is used), NotSupported, TaskFailed (`service-failed`),
            TaskFailedInternally, Unavailable.
        """
        raise NotSupported("services")

    @abstractmethod
    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        """Starts what the payload says, with these environment variables, secrets among them: no process list and no
        log shows their values. Of the worker's own environment the run gets what every program needs, such as PATH, and
        nothing else. With `stdin`, the standard input stays open and is the execution's `stdin`; without, it is what
        the payload says, or empty.

        Consumes the engine when it returns. When it raises, the engine is not consumed, and is discarded.
        Raises: MalformedPayload, NotSupported, TaskFailed, TaskFailedInternally, RunLost, Unavailable.
        """

    @abstractmethod
    async def discard(self) -> None:
        """Releases everything, when nothing has run. May be called again.

        Raises: TaskFailedInternally with a line for each thing that could not be removed.
        """
