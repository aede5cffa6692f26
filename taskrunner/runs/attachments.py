"""What a run gets beside its command: the caches, mounts and services of its task, and the proxies of its queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from taskrunner.content.provision import Content, ContentSource
from taskrunner.content.refusal import of_mount
from taskrunner.errors import Complaint, MalformedPayload, NotSupported, TaskFailed
from taskrunner.interfaces.attachments import Service
from taskrunner.interfaces.caches import Caches, Lease
from taskrunner.interfaces.engine import Engine
from taskrunner.interfaces.queue import HeldClaim, Queue
from taskrunner.model import MountSpec, Secret, ServiceSpec, Task


async def attach_proxies(engine: Engine[Any], queue: Queue, held: HeldClaim, platform: str) -> None:
    """Those that the queue offers to this run. Raises the errors of `attach_proxy`, but for NotSupported."""
    for name, handler in queue.proxies(held).items():
        await _supported(engine.attach_proxy(name, handler), f"the proxy {name} of its queue", platform, "platform")


async def attach_caches(engine: Engine[Any], task: Task, caches: Caches, held: Callable[[Lease], object]) -> None:
    """One after the other. `held` gets each lease before its folder is attached. Raises the errors of `Caches` and of
    `attach_cache`."""
    for cache in task.caches:
        lease = await (caches.shared if cache.read_only else caches.exclusive)(cache.name)
        held(lease)
        await engine.attach_cache(lease.folder, cache.path, read_only=cache.read_only)


async def attach_mounts(
    engine: Engine[Any], task: Task, source: ContentSource, held: Callable[[Content], object]
) -> None:
    """One after the other. `held` gets each content before it is attached, and releases it after the run. Raises the
    errors of `provide` and `attach_mount`, but for NotSupported."""
    for index, mount in enumerate(task.mounts):
        field = f"mounts[{index}]"
        try:
            content = await _provided(source, mount, field)
            held(content)
            attaching = engine.attach_mount(content.path, mount.target)
            await _supported(attaching, f"the mount {mount.target}", task.platform, field)
        except TaskFailed as error:
            raise of_mount(index, error) from None
        except MalformedPayload as error:
            raise MalformedPayload(*(_of_field(each, field) for each in error.complaints)) from None


async def _provided(source: ContentSource, mount: MountSpec, field: str) -> Content:
    try:
        return await source.provide(mount)
    except NotSupported as error:
        problem, fix = f"cannot be had here: {error}", "let the task fetch it"
        raise MalformedPayload(Complaint(f"{field}.artifact", problem, fix)) from None


def _of_field(complaint: Complaint, field: str) -> Complaint:
    """An engine knows its mounts by their targets alone."""
    return attrs.evolve(complaint, path=f"{field}.target") if complaint.path == "mounts" else complaint


async def attach_services(engine: Engine[Any], task: Task, reveal: Callable[[Secret], str]) -> None:
    """One after the other, each when the one before it is ready. Raises the errors of `attach_service`, but for
    NotSupported."""
    for index, spec in enumerate(task.services):
        service = _service(spec, reveal)
        path = f"services[{index}]"
        await _supported(engine.attach_service(spec.name, service), f"the service {spec.name}", task.platform, path)


def _service(spec: ServiceSpec, reveal: Callable[[Secret], str]) -> Service:
    secrets = {name: reveal(secret) for name, secret in spec.secrets.items()}
    ready = spec.ready.port or spec.ready.command or None
    return Service(spec.image, spec.command, {**spec.env, **secrets}, ready, float(spec.limit), spec.resources)


async def _supported(attaching: Awaitable[None], what: str, platform: str, path: str) -> None:
    """Raises MalformedPayload in place of NotSupported: it names the platform."""
    try:
        await attaching
    except NotSupported as error:
        problem = f"the {platform} platform cannot give {what} to this run: {error}"
        raise MalformedPayload(Complaint(path, problem, "run the task on another platform")) from None
