"""Starting a worker: the services are opened from a configuration, the worker runs, and they are closed again.

`taskrunner run` does this, and so does a program with a worker of its own::

    load = await run_worker(Config(capacity=2), host=StandaloneHost(), home=home())
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from taskrunner.blocking import OverLimit
from taskrunner.bounded import BoundedCalls
from taskrunner.caches.eviction import Eviction
from taskrunner.caches.folder_caches import FolderCaches, MakeFolder
from taskrunner.config.config import Config, decode_config
from taskrunner.config.environment import environment
from taskrunner.config.plugins import platforms
from taskrunner.config.queue_url import public_url
from taskrunner.config.retention import Retention
from taskrunner.config.secrets import Secrets
from taskrunner.config.settings import Settings, host_config
from taskrunner.errors import Bug, ConfigError
from taskrunner.files.plain_folder import PlainFolder
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.platform import Platform, PlatformContext
from taskrunner.interfaces.queue import Queue
from taskrunner.machines.worker import Load
from taskrunner.runs.admission import Admission
from taskrunner.runs.observer import Observer, WorkerView
from taskrunner.runs.platforms import Platforms
from taskrunner.runs.run import TaskRun
from taskrunner.runs.services import Services
from taskrunner.state.worker_lock import WorkerLock, socket_path
from taskrunner.state.worker_name import holding_name, unique_id
from taskrunner.worker.door.server import Door
from taskrunner.worker.opening import Opening
from taskrunner.worker.retention.schedule import regular_pruning
from taskrunner.worker.service_manager import reporting
from taskrunner.worker.stop_condition import StopCondition
from taskrunner.worker.worker import Worker

CLOSE_LIMIT = 30.0
"""Seconds for the queue, or the store, to close its connections."""


def machine_name() -> str:
    """The name of a worker that was given none."""
    return "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())[:40]


def new_worker_id(name: str = "") -> str:
    """Unique among all workers, past ones included; begins with the name that was given, else with host and process."""
    return unique_id(name or f"{machine_name()}-{os.getpid()}")


def _folder_of(available: Platforms, name: str) -> MakeFolder:
    """Makes the cache folders of a platform. One that is not open is not opened for the sake of its caches."""
    opened = available.open_ones.get(name)
    return opened.new_cache_folder if opened else PlainFolder


@asynccontextmanager
async def services(
    config: Config,
    home: Path,
    *,
    observer: Observer | None = None,
    queue: Callable[[str], Queue] | None = None,
    store: ArtifactStore | None = None,
    plugins: Mapping[str, type[Platform[Any, Any]]] | None = None,
    identity: Mapping[str, str] | None = None,
    patient: bool = True,
    own_task: str = "",
) -> AsyncIterator[Services]:
    """The services that a worker's runs share, for as long as the block lasts.

    `queue` (a function from the worker's id), `store` and `plugins` (platform classes by name) replace those of the
    configuration and the installed packages. `identity` are the labels of the machine. A `patient` worker waits for a
    platform that has a table in the configuration and does not answer; otherwise the run ends as
    `resource-unavailable`. `own_task` is the id of a task that the caller has written himself: it may name any
    repository that the worker's user can read.

    Raises: ConfigError with every mistake that opening them finds, Unavailable, WorkerBroken.
    """
    home.mkdir(mode=0o700, parents=True, exist_ok=True)  # noqa: ASYNC240  no other coroutine runs yet
    variables = environment()
    known = Secrets(config.secrets, variables)
    name = config.worker_id or machine_name()
    context = PlatformContext(
        new_worker_id(config.worker_id), home, known.reveal, variables, name, capacity=config.capacity
    )
    observer = observer or Observer()
    calls = BoundedCalls(observer.warn)
    available = Platforms(
        platforms() if plugins is None else plugins,
        context,
        config.options,
        frozenset(config.tables if patient else ()),
        calls,
    )
    opening = Opening(config, context, known, available, observer.warn)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(_close, opening, calls, given=store)
        closing.push_async_callback(available.dispose)
        await opening.run(queue, store)
        if opening.queue is None or opening.store is None:
            raise Bug("a worker was opened without a queue or a store")
        yield Services(
            worker_id=context.worker_id,
            home=home,
            queue=opening.queue,
            store=opening.store,
            platforms=available,
            caches=lambda name: FolderCaches(home / "caches" / name, available.open_ones[name].new_cache_folder),
            engine_caches=FolderCaches(home / "engine-caches", PlainFolder),
            eviction=Eviction(home, config.caches, partial(_folder_of, available)),
            reveal=known.reveal,
            observer=observer,
            lease=config.lease,
            identity=identity or {},
            max_artifact_size=config.max_artifact_size,
            source_options=config.source,
            own_task=own_task,
            admission=Admission(config.resources),
        )


async def run_worker(
    config: Config | Settings,
    host: Host,
    home: Path,
    *,
    stop_when: StopCondition | None = None,
    observer: Observer | None = None,
    queue: Callable[[str], Queue] | None = None,
    store: ArtifactStore | None = None,
    plugins: Mapping[str, type[Platform[Any, Any]]] | None = None,
    prepare: Callable[[Queue], Awaitable[None]] | None = None,
    patient: bool = True,
    own_task: str = "",
    run_class: type[TaskRun] = TaskRun,
    listeners: Iterable[object] = (),
) -> Load:
    """Runs a worker to its end. Returns its load: `why` it stopped, and whether it is `broken`.

    The host gives its configuration first: it fills what a `Config` leaves at its default, and takes its place among
    the layers of `Settings`. `prepare` is called with the open queue, before the first claim: it may submit something.
    `run_class` is for runs with other states or other work; `listeners` are python-statemachine's, and are called for
    each move of the worker. The other arguments are those of `services`.

    Raises: ConfigError, also when the configuration proves wrong later; Unavailable; WorkerBroken.
    """
    full = await _with_host(config, host)
    opened = services(
        full,
        home,
        observer=observer,
        queue=queue,
        store=store,
        plugins=plugins,
        identity=host.identity,
        patient=patient,
        own_task=own_task,
    )
    with holding_name(home, full.worker_id):
        async with opened as shared:
            if prepare:
                await prepare(shared.queue)
            url = "" if queue else public_url(full.queue_url(home))
            shared.observer.opened(WorkerView(shared.worker_id, full.capacity, url, shared.identity))
            stopping = stop_when or StopCondition()
            worker = Worker(shared, host, full.capacity, stopping, full.min_free_disk, run_class, full.stop_timeout)
            load = await _run(worker, full.retention, listeners)
    await host.shut_down()
    return load


async def _run(worker: Worker, retention: Retention | None, listeners: Iterable[object]) -> Load:
    lock = WorkerLock(worker.services.home, worker.services.worker_id)
    try:
        worker.machine.add_listener(*listeners)
        async with _door(worker), reporting(worker), regular_pruning(worker.services, retention):
            load = await worker.run()
        if await worker.services.platforms.dispose() and not load.broken:
            lock.release()
    finally:
        lock.abandon()  # after a release this does nothing; else the next worker recovers from this one
    if isinstance(worker.error, ConfigError):
        raise worker.error
    return load


def _door(worker: Worker) -> AbstractAsyncContextManager[None]:
    services = worker.services
    return Door(worker, services.observer.warn).open(socket_path(services.home, services.worker_id))


async def _with_host(config: Config | Settings, host: Host) -> Config:
    layer = await host_config(host)
    if isinstance(config, Settings):
        return config.config(layer)
    return config.filled(decode_config(layer.values, layer.where, layer.places))


async def _close(opened: Opening, calls: BoundedCalls, given: ArtifactStore | None) -> None:
    """Closes what was opened. A store that a program gave stays open: it may have other users."""
    for plugin in (opened.queue, opened.store):
        if plugin is not None and plugin is not given:
            with suppress(OverLimit):  # the warning is out, and the worker must end
                kind = "queue" if plugin is opened.queue else "store"
                await calls.call(plugin.close(), limit=CLOSE_LIMIT, doing=f"closing the {kind}")
