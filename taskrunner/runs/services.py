"""Services: the objects that all runs of a worker share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from taskrunner.caches.eviction import Eviction
from taskrunner.files.identity import identity
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.caches import Caches
from taskrunner.interfaces.queue import Queue
from taskrunner.interfaces.source import SourceOptions
from taskrunner.limits import MAX_ARTIFACT_SIZE
from taskrunner.model import Secret
from taskrunner.runs.admission import Admission
from taskrunner.runs.machine_faults import MachineFaults
from taskrunner.runs.observer import Observer
from taskrunner.runs.platforms import Platforms


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
    home_identity: tuple[int, int] | None = attrs.field(
        init=False, default=attrs.Factory(lambda services: identity(services.home), takes_self=True)
    )
    """Of the folder in which the worker began: another one at its path is not its home."""
    lease: float = 60.0
    """Seconds that a claim lasts; it is renewed at a third of that. A minute is short enough that a dead worker's runs
    are taken over soon, and long enough for a queue that is out of reach for half of it."""
    identity: Mapping[str, str] = attrs.field(factory=dict)
    """The labels of this machine: `Host.identity`."""
    max_artifact_size: int = MAX_ARTIFACT_SIZE
    """Bytes of one artifact."""
    faults: MachineFaults = attrs.field(
        init=False, default=attrs.Factory(lambda services: MachineFaults(services.home), takes_self=True)
    )
    """What runs have met of the faults of this machine."""
    admission: Admission = attrs.field(factory=Admission)
    """Which runs have which resources of the machine."""
    eviction: Eviction | None = None
    """Keeps all caches within `[caches]`; None for no limits."""
    source_options: SourceOptions = attrs.field(factory=SourceOptions)
    """The `[source]` table of the configuration."""
    own_task: str = ""
    """The id of a task that the operator of this worker has written. Empty: all tasks come from others."""

    async def evict_caches(self) -> None:
        """Makes room for the caches of a run. What fails is a warning: the run may have all it needs."""
        try:
            if self.eviction:
                await self.eviction.run()
        except OSError as error:
            self.observer.warn(f"the caches could not be kept within their limits: {error}")

    def source_options_for(self, task_id: str) -> SourceOptions:
        return self.source_options.of_operator() if task_id == self.own_task else self.source_options
