"""Admission: a run begins when what it asks for is free.

A queue that reads `Slots.room` grants no run that does not fit. From any other queue, a run waits in its slot, its
claim renewed, and the worker claims nothing until it has begun: handed back, it would be granted again at once, and
count as a failed delivery in a queue of messages. Waiting runs begin in the order of their claims, so small ones do not
keep a large one out for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn

import attrs

from taskrunner.amounts import Amounts, Room, amounts_text, beyond, less
from taskrunner.config.resource_options import ResourceOptions
from taskrunner.errors import Complaint, MalformedPayload, Unavailable


class Admission:
    """Counts what the runs of one worker have. Used from the event loop."""

    def __init__(self, options: ResourceOptions | None = None) -> None:
        self._options = options or ResourceOptions()
        self.on_change: Callable[[], None] = lambda: None
        """Called when there is more or less room. The worker sets it."""
        self._shares: list[Share] = []
        """Of all runs, in the order of their claims."""
        self._changed = asyncio.Event()

    @property
    def counts(self) -> bool:
        """Whether anything is counted."""
        return bool(self._options.items)

    @property
    def room(self) -> Room | None:
        """What is left; None when nothing is counted."""
        if not self.counts:
            return None
        free = dict(self._options.items)
        for share in self._shares:
            free = less(free, share.held)
        return Room(self._options, self._options.default, free)

    @property
    def open(self) -> bool:
        """Whether every run that was claimed has what it asked for."""
        return not self.counts or all(share.begun for share in self._shares)

    def enter(self) -> Share:
        """The share of a run that was claimed just now."""
        share = Share(self)
        self._shares.append(share)
        return share

    async def settled(self) -> None:
        """Waits until every run that was claimed has what it asked for, or has ended."""
        while not self.open:
            await self.change()

    def effective(self, asked: Amounts) -> Amounts:
        """What a task gets: what it asks for, and the defaults.

        Raises: MalformedPayload (more than the operator allows), Unavailable (more than this worker has).
        """
        if complaints := [*map(self._complaint, beyond(asked.items, self._options.maximum.items))]:
            raise MalformedPayload(*complaints)
        need = asked.filled(self._options.default)
        too_much = beyond(need.items, self._options.items)
        missing = {name: need.named[name] for name in sorted(set(need.named) - set(self._options.named))}
        if too_much or missing:
            _refuse({**too_much, **missing}, self._options)
        return need

    def _complaint(self, name: str) -> Complaint:
        most = amounts_text({name: self._options.maximum.items[name]})
        fix = "ask for less, or let the operator raise it in [resources.maximum]"
        return Complaint(f"resources.{name}", f"is more than this worker allows one task, {most}", fix)

    def first_waiting(self) -> Share | None:
        """The run that gets what it asked for before any other."""
        return next((share for share in self._shares if share.asked is not None and not share.begun), None)

    def leave(self, share: Share) -> None:
        if share in self._shares:
            self._shares.remove(share)
            self.changed()

    async def change(self) -> None:
        """Waits until a share has changed."""
        event = self._changed
        await event.wait()

    def changed(self) -> None:
        event, self._changed = self._changed, asyncio.Event()
        event.set()
        self.on_change()


@attrs.define(eq=False)
class Share:
    """What one run has."""

    admission: Admission
    asked: Amounts | None = None
    """None until its task was read."""
    begun: bool = False

    @property
    def held(self) -> dict[str, float]:
        return dict(self.asked.items) if self.asked and self.begun else {}

    async def acquire(self, asked: Amounts, say: Callable[[str], None]) -> None:
        """Waits until all of it is free, and tells so. `asked` is what `effective` has returned."""
        self.asked, told = asked, False
        while not self._fits():
            if not told:
                say(self._words())
                told = True
            await self.admission.change()
        self.begun = True
        self.admission.changed()

    def release(self) -> None:
        """Nothing of the run is alive. A second call does nothing."""
        self.admission.leave(self)

    def _fits(self) -> bool:
        room = self.admission.room
        if room is None or self.asked is None:
            return True
        return self.admission.first_waiting() is self and not beyond(self.asked.items, room.free)

    def _words(self) -> str:
        room = self.admission.room
        if room is None or self.asked is None:
            return ""
        return f"waiting for resources: asks for {self.asked}, and free are {amounts_text(room.free)}"


def _refuse(missing: dict[str, float], has: Amounts) -> NoReturn:
    names = ", ".join(f"resources.{name}" for name in missing)
    raise Unavailable(
        f"{names}: the task asks for {amounts_text(missing)}; this worker has {has} in all, for its tasks together"
    )
