"""Warming up: what the first run of a worker would wait for is done while the worker waits for that run.

A peer that dispatches a run waits for its start, and the first one of a worker would pay for imports, decoders, the
declaration of the machine and the opening of the platform. A queue that knows what its tasks look like shows one
(`Queue.expected_task`). From any other queue a worker imports nothing before it has a task.
"""

from __future__ import annotations

from functools import partial

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import ConfigError, MalformedPayload, Reject, Unavailable
from taskrunner.interfaces.platform import HEALTHY
from taskrunner.machines.task import Attempt
from taskrunner.machines.worker import Load, WorkerMachine
from taskrunner.model import Document, Health
from taskrunner.runs.run import TaskRun
from taskrunner.runs.services import Services
from taskrunner.schema.check import PlatformClasses, check_task

LIMIT = 60.0
"""Seconds for imports from a disk that is slow."""


async def warm_up(services: Services, run_class: type[TaskRun]) -> Health:
    """Whether the platform of the expected tasks works. When it does not answer, it counts as promised from now on: the
    machine is unfit until it does. Any other failure is a warning: each run says it again.
    """
    document = services.queue.expected_task()
    if document is None:
        return HEALTHY
    prepare = partial(_prepare, document, services.platforms.classes, run_class)
    try:
        platform = await run_blocking(prepare, limit=LIMIT, doing="getting ready for the first run")
        services.platforms.promised |= {platform}
        await services.platforms.get(platform)
    except Unavailable as unavailable:
        return Health(fit=False, why=unavailable.message)
    except (ConfigError, MalformedPayload, Reject, OverLimit) as error:
        services.observer.warn(f"the tasks of this queue cannot run now: {error}")
    return HEALTHY


def _prepare(document: Document, platforms: PlatformClasses, run_class: type[TaskRun]) -> str:
    """In a thread of its own, so that peers can connect meanwhile. Returns the name of the platform.

    Raises: ConfigError, MalformedPayload, Reject.
    """
    task, _ = check_task(document, platforms)
    run_class.machine_class(Attempt()).prepare()
    WorkerMachine(Load(1)).prepare()
    return task.platform
