"""One pull of an image at a time, for all runs of this worker that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import attrs

from taskrunner.blocking import wait_through
from taskrunner.model import Progress

Say = Callable[[str], None]
Report = Callable[[Progress], None]
Begin = Callable[[Say, Report], Coroutine[None, None, None]]
_Key = tuple[str, bool]
"""The image, and whether the pull is a patient one."""


@attrs.frozen(eq=False)
class Follower:
    """A run that waits for a pull."""

    say: Say
    progress: Report


class _Pull:
    def __init__(self, begin: Begin, image: str) -> None:
        self.followers: list[Follower] = []
        self.work = asyncio.create_task(begin(self.say, self.progress), name=f"the pull of {image}")

    def say(self, text: str) -> None:
        for follower in self.followers:
            follower.say(text)

    def progress(self, moved: Progress) -> None:
        for follower in self.followers:
            follower.progress(moved)


class SharedPulls:
    """The pulls of one worker. Used from one event loop."""

    def __init__(self) -> None:
        self._running: dict[_Key, _Pull] = {}

    async def pull(self, image: str, begin: Begin, follower: Follower, *, patient: bool = True) -> None:
        """Pulls an image by `begin`, or waits for the pull that another run has begun. What is said and reported goes
        to all that wait. The pull ends with the last of them: Docker stops it when its connection is closed.

        `patient` says whether `begin` tries again what fails for a time. A run that has another way to its image does
        not wait for that, and a run that has none gets no less.

        Raises: the errors of the pull.
        """
        key = image, patient
        pull = self._running.get(key)
        if pull is None:
            pull = self._running[key] = _Pull(begin, image)
        else:
            follower.say(f"waiting for {image}, which another run pulls already")
        await self._follow(key, pull, follower)

    async def _follow(self, key: _Key, pull: _Pull, follower: Follower) -> None:
        pull.followers.append(follower)
        try:
            await asyncio.wait([pull.work])
        finally:
            pull.followers.remove(follower)
            if self._running.get(key) is pull and (pull.work.done() or not pull.followers):
                del self._running[key]  # who comes from now on begins another
            if not pull.followers and not pull.work.done():
                pull.work.cancel()
                await wait_through(pull.work)
        pull.work.result()
