"""SlotOffer: tells the queue what a worker can take."""

from __future__ import annotations

import attrs

from taskrunner.interfaces.queue import Queue, Slots
from taskrunner.machines.worker import Load
from taskrunner.model import Health
from taskrunner.runs.admission import Admission


@attrs.define
class SlotOffer:
    """What the queue of a worker knows of its slots."""

    queue: Queue
    admission: Admission
    _last: Slots | None = attrs.field(init=False, default=None)

    def update(self, load: Load, free: int, *, stopping: bool) -> None:
        """Tells the queue, if anything has changed since the last time. `free` is how many more runs may come."""
        slots = Slots(
            load.capacity,
            max(0, free) if self.admission.open else 0,
            Health(fit=not load.pause, why=load.pause),
            f"the worker is stopping: {load.why}" if stopping else "",
            self.admission.room,
        )
        if slots != self._last:
            self._last = slots
            self.queue.offer_slots(slots)
