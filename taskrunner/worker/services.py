"""Services: the objects that all runs of a worker share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs

from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.caches import Caches
from taskrunner.interfaces.queue import Queue
from taskrunner.model import Secret
from taskrunner.worker.observer import Observer
from taskrunner.worker.platforms import Platforms


@attrs.frozen
class Services:
    """Passed to each run. A run owns none of these objects, and closes none."""

    worker_id: str
    home: Path
    queue: Queue
    store: ArtifactStore
    platforms: Platforms
    caches: Callable[[str], Caches]
    """The caches of tasks on a platform, by its name."""
    engine_caches: Caches
    """The caches of engines, such as mirrors of repositories. A task cannot name one of them."""
    reveal: Callable[[Secret], str]
    observer: Observer
    lease: float = 60.0
    """Seconds that a claim lasts; it is renewed at a third of that. A minute is short enough that a dead worker's runs
    are taken over soon, and long enough for a queue that is out of reach for half of it."""
