"""The pause containers of one worker. A clean one is used again: making one takes longer than starting a program.

In the pool a container has a name of the worker. While a run has it, the name says which run, so that the clean-up of
that run finds it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from http import HTTPStatus

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.model import RunKey
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.cleanup.labels import WorkerLabels
from taskrunner_docker.cleanup.removal import remove_container
from taskrunner_docker.pod.cleanliness import traces
from taskrunner_docker.pod.pause import Pause, PauseMaker, PodNetwork


class PausePool:
    """Keeps at most `capacity` idle ones. Used from one event loop, by several runs at once."""

    def __init__(self, client: DockerClient, labels: WorkerLabels, capacity: int) -> None:
        self._client, self._labels, self._capacity = client, labels, capacity
        self._maker = PauseMaker(client, labels)
        self._idle: list[Pause] = []
        self._owned: set[str] = set()
        """The containers that no run has, by id or name: idle ones, those that are made or checked, and `_left`."""
        self._left: set[str] = set()
        """Those that could not be removed yet."""
        self._returning: set[asyncio.Task[None]] = set()

    async def acquire(self, network: PodNetwork, run: RunKey) -> Pause:
        """One for this run, with its name. Raises DockerError, TaskFailedInternally, Unavailable."""
        name = self._labels.pod_name(run)
        pause = self._take(network) or await self._make(network)
        while not await self._name_or_remove(pause, name):
            pause = self._take(network) or await self._make(network)
        self._owned.discard(pause.container)
        return pause

    async def release(self, pause: Pause, *, clean: bool) -> None:
        """Takes one back from a run, none of whose containers are left. It is checked in the background, and used again
        or replaced by a new one. `clean`: whether it may be used again.

        Raises: TaskFailedInternally (it has the run's name still).
        """
        if not clean or not await self._unname(pause):
            await remove_container(self._client, pause.container)
            return
        self._owned.add(pause.container)
        returning = asyncio.create_task(self._check(pause))
        self._returning.add(returning)
        returning.add_done_callback(self._returning.discard)

    async def remove_left(self) -> None:
        """Tries again what could not be removed. Raises nothing."""
        for container in list(self._left):
            await self._remove(container)

    async def dispose(self) -> None:
        """Removes all. Raises TaskFailedInternally with those that are left."""
        for task in self._returning:
            task.cancel()
        await asyncio.gather(*self._returning, return_exceptions=True)
        self._idle.clear()
        removals = (remove_container(self._client, container) for container in self._owned)
        outcomes = await asyncio.gather(*removals, return_exceptions=True)
        if problems := [str(outcome) for outcome in outcomes if outcome]:
            raise TaskFailedInternally("; ".join(problems))

    async def _make(self, network: PodNetwork) -> Pause:
        name = self._labels.passing_name()
        self._owned.add(name)  # before there is a container of this name
        try:
            made = await self._maker.make(network, name)
        except BaseException:
            await self._remove(name)
            raise
        self._owned.discard(name)
        self._owned.add(made.container)
        return made

    def _take(self, network: PodNetwork) -> Pause | None:
        found = next((pause for pause in self._idle if pause.network == network), None)
        if found:
            self._idle.remove(found)
        return found

    async def _name_or_remove(self, pause: Pause, name: str) -> bool:
        """Gives it the name of a run. False: it was removed, since it runs no more."""
        named = False
        try:
            named = await self._name(pause, name)
        finally:
            if not named:
                await self._remove(pause.container)
        return named

    async def _name(self, pause: Pause, name: str) -> bool:
        """Gives it the name of a run. False: it runs no more, as after a restart of Docker."""
        try:
            await self._client.call(self._client.api.rename, pause.container, name)
            state = (await self._client.call(self._client.api.inspect_container, pause.container))["State"]
        except DockerError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return bool(state["Running"]) and state["Pid"] == pause.pid

    async def _unname(self, pause: Pause) -> bool:
        """Takes the name of the run from it. False: it could not be."""
        try:
            await self._client.call(self._client.api.rename, pause.container, self._labels.passing_name())
        except (DockerError, Unavailable):
            return False
        return True

    async def _check(self, pause: Pause) -> None:
        if await traces(self._client, pause):
            await self._remove(pause.container)
            pause = await self._make(pause.network)
        if len(self._idle) < self._capacity:
            self._idle.append(pause)
        else:
            await self._remove(pause.container)

    async def _remove(self, container: str) -> None:
        """What cannot be removed now is tried again."""
        self._left.add(container)
        with suppress(TaskFailedInternally):
            await remove_container(self._client, container)
            self._left.discard(container)
            self._owned.discard(container)
