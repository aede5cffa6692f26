"""Starting a worker: the services are opened from a configuration, the worker runs, and they are closed again.

`taskrunner run` does this, and so does a program with a worker of its own::

    load = await run_worker(Config(capacity=2), host=StandaloneHost(), home=home())
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from taskrunner.blocking import OverLimit
from taskrunner.bounded import BoundedCalls
from taskrunner.caches.folder_caches import FolderCaches
from taskrunner.config.config import Config
from taskrunner.config.environment import environment
from taskrunner.config.plugins import open_queue, platforms
from taskrunner.config.secrets import Secrets
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.platform import Platform, PlatformContext
from taskrunner.interfaces.queue import Queue
from taskrunner.machines.worker import Load
from taskrunner.state.worker_lock import WorkerLock
from taskrunner.stores.folder import FolderStore
from taskrunner.worker.observer import Observer
from taskrunner.worker.platforms import Platforms
from taskrunner.worker.run import TaskRun
from taskrunner.worker.services import Services
from taskrunner.worker.stop_condition import StopCondition
from taskrunner.worker.worker import Worker

CLOSE_LIMIT = 30.0
"""Seconds for the queue to close its connections."""


def new_worker_id() -> str:
    """Unique among all workers, past ones included; names the host and the process."""
    host = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())[:40]
    return f"{host}-{os.getpid()}-{secrets.token_hex(4)}"


@asynccontextmanager
async def services(
    config: Config,
    home: Path,
    *,
    observer: Observer | None = None,
    queue: Callable[[str], Queue] | None = None,
    plugins: Mapping[str, type[Platform[Any, Any]]] | None = None,
    patient: bool = True,
) -> AsyncIterator[Services]:
    """The services that a worker's runs share, for as long as the block lasts.

    `queue` (a function from the worker's id) and `plugins` (platform classes by name) replace those of the
    configuration and the installed packages. A `patient` worker waits for a platform that has a section in the
    configuration and does not answer; otherwise the run ends as `resource-unavailable`.

    Raises: ConfigError, Unavailable.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240  no other coroutine runs yet
    worker_id = new_worker_id()
    known = Secrets(config.secrets, environment())
    context = PlatformContext(worker_id=worker_id, home=home, reveal=known.reveal)
    observer = observer or Observer()
    calls = BoundedCalls(observer.warn)
    available = Platforms(
        platforms() if plugins is None else plugins,
        context,
        config.options,
        frozenset(config.tables if patient else ()),
        calls,
    )
    opened = queue(worker_id) if queue else open_queue(config.queue_url(home), worker_id)
    try:
        yield Services(
            worker_id=worker_id,
            home=home,
            queue=opened,
            store=FolderStore(home / "artifacts"),
            platforms=available,
            caches=lambda name: FolderCaches(home / "caches" / name, available.open_ones[name].new_cache_folder),
            engine_caches=FolderCaches(home / "engine-caches", PlainFolder),
            reveal=known.reveal,
            observer=observer,
            lease=config.lease,
        )
    finally:
        try:
            await available.dispose()
        finally:
            with suppress(OverLimit):  # the warning is out, and the worker must end
                await calls.call(opened.close(), limit=CLOSE_LIMIT, doing="closing the queue")


async def run_worker(
    config: Config,
    host: Host,
    home: Path,
    *,
    stop_when: StopCondition | None = None,
    observer: Observer | None = None,
    queue: Callable[[str], Queue] | None = None,
    plugins: Mapping[str, type[Platform[Any, Any]]] | None = None,
    patient: bool = True,
    run_class: type[TaskRun] = TaskRun,
    listeners: Iterable[object] = (),
) -> Load:
    """Runs a worker to its end. Returns its load: `why` it stopped, and whether it is `broken`.

    `run_class` is for runs with other states or other work; `listeners` are python-statemachine's, and are called for
    each move of the worker.

    Raises: ConfigError, Unavailable.
    """
    async with services(config, home, observer=observer, queue=queue, plugins=plugins, patient=patient) as shared:
        lock = WorkerLock(home, shared.worker_id)
        try:
            stopping = stop_when or StopCondition()
            worker = Worker(shared, host, config.capacity, stopping, config.min_free_disk, run_class)
            worker.machine.add_listener(*listeners)
            load = await worker.run()
            if not load.broken:
                lock.release()
        finally:
            lock.abandon()  # after a release this does nothing; else the next worker recovers from this one
    await host.shut_down()
    return load
