"""How the `resources` of a task are divided between its command and its services.

They are what all containers of the run use together, so that a worker that counts resources counts the services as
well. What a service asks for is its own. The rest is divided equally: between the command, and the services that ask
for nothing of that kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from taskrunner.amounts import LEAST_MEMORY, Amounts, amounts_text
from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.model import Task

_LEAST: dict[str, float] = {"memory": LEAST_MEMORY, "cpus": 0.01, "pids": 1}


def divided(task: Task) -> Task:
    """The task with `resources` of its command alone, and those of each service. What the task does not limit is not
    divided.

    Raises: MalformedPayload, with every complaint.
    """
    if complaints := list(share_complaints(task)):
        raise MalformedPayload(*complaints)
    shares: dict[str, Any] = {name: share for name in _LEAST if (share := _share(task, name)) is not None}
    services = [
        attrs.evolve(service, resources=attrs.evolve(service.resources, **(shares | _asked(service.resources))))
        for service in task.services
    ]
    return attrs.evolve(task, resources=attrs.evolve(task.resources, **shares), services=tuple(services))


def share_complaints(task: Task) -> Iterator[Complaint]:
    """What cannot be divided."""
    for index, service in enumerate(task.services):
        for name in service.resources.named:
            fix = f"write it as `resources.{name}` of the task"
            yield Complaint(f"services[{index}].resources.{name}", "is counted for the whole run", fix)
    for name, least in _LEAST.items():
        share = _share(task, name)
        if share is not None and share < least:
            what = f"leaves each container that has no part of its own less than {amounts_text({name: least})}"
            fix = "raise it, or let the services ask for less of it"
            yield Complaint(f"resources.{name}", what, fix)


def _share(task: Task, name: str) -> float | None:
    """Of each container that asks for nothing of this kind; None when the task does not limit it."""
    total = getattr(task.resources, name)
    if total is None:
        return None
    asked = [amount for each in task.services if (amount := getattr(each.resources, name)) is not None]
    rest, containers = total - sum(asked), len(task.services) - len(asked) + 1
    return round(rest / containers, 6) if name == "cpus" else int(rest // containers)


def _asked(resources: Amounts) -> dict[str, Any]:
    return {name: amount for name in _LEAST if (amount := getattr(resources, name)) is not None}
