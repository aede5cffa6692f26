"""The table `[queue.taskcluster]`, and the URL of a task queue."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs
from attrs.validators import matches_re

from taskrunner.errors import Complaint, ConfigError
from taskrunner.interfaces.plugin import QueueContext
from taskrunner.model import Secret
from taskrunner.queues.listening import ListenOptions, listen_complaints

ID_PART = r"[A-Za-z0-9_-]{1,38}"
"""Taskcluster's form of worker groups, worker ids, provisioners and worker types."""

PART_HINT = "use up to 38 letters, digits, `_` and `-`"

DEFAULT_GROUP = "taskrunner"


@attrs.frozen
class LiveLogOptions:
    """The table `[queue.taskcluster.live_log]`: the logs of runs that go on can be read from the worker."""

    url: str = attrs.field(
        validator=matches_re(r"https?://[A-Za-z0-9.:\[\]_-]+(?:/[A-Za-z0-9._~/-]*[A-Za-z0-9._~-])?"),
        metadata={"hint": "write the URL by which readers reach the port, without a slash at its end"},
    )
    """Where readers reach the port: artifacts refer to it."""
    address: str = attrs.field(
        default="127.0.0.1:60098",
        validator=matches_re(r"[A-Za-z0-9.:\[\]-]+:[0-9]+"),
        metadata={"hint": "write HOST:PORT, such as 0.0.0.0:60098"},
    )
    """Where the port listens."""
    listen: ListenOptions = attrs.field(factory=ListenOptions)
    """Who may connect."""


@attrs.frozen
class TaskclusterOptions:
    """Who the worker is."""

    client_id: str
    """Of the worker's own credentials: scopes `queue:claim-work:...` and `queue:worker-id:...`."""
    access_token: Secret
    certificate: Secret | None = None
    """Of credentials that are temporary: the JSON text that came with them."""
    root_url: str = attrs.field(
        default="",
        validator=matches_re(r"(?:https?://[A-Za-z0-9.:\[\]-]+)?"),
        metadata={"hint": "write it as https://taskcluster.example, without a path"},
    )
    """Instead of `https://` and the host of the queue's URL."""
    worker_group: str = attrs.field(default=DEFAULT_GROUP, validator=matches_re(ID_PART), metadata={"hint": PART_HINT})
    worker_id: str = attrs.field(default="", validator=matches_re(f"(?:{ID_PART})?"), metadata={"hint": PART_HINT})
    """By default the name of the worker."""
    live_log: LiveLogOptions | None = None
    """Without it, a log can be read once its run has ended."""


@attrs.frozen
class TaskQueueAddress:
    """What a URL such as `taskcluster://tc.example/proj-web/linux` names."""

    root_url: str
    """Without a slash at its end."""
    task_queue_id: str
    """`proj-web/linux`: provisioner and worker type."""

    @classmethod
    def of(cls, url: str, options: TaskclusterOptions) -> TaskQueueAddress:
        """Raises ConfigError."""
        parts = urlsplit(url)
        task_queue_id = parts.path.strip("/")
        if parts.query or parts.fragment or "@" in parts.netloc or not parts.netloc:
            raise ConfigError("is not taskcluster://HOST/PROVISIONER/WORKERTYPE (options stand in [queue.taskcluster])")
        if not re.fullmatch(f"{ID_PART}/{ID_PART}", task_queue_id):
            raise ConfigError(f"names no task queue: write HOST/PROVISIONER/WORKERTYPE; {PART_HINT} in each of the two")
        return cls(options.root_url or f"https://{parts.netloc}", task_queue_id)


@attrs.frozen
class KnownAs:
    """Who the worker is for Taskcluster: the same after a restart. The fields are those of its messages."""

    workerGroup: str  # noqa: N815  see above
    workerId: str  # noqa: N815  see above

    @classmethod
    def of(cls, options: TaskclusterOptions, context: QueueContext) -> KnownAs:
        """Raises ConfigError."""
        worker_id = options.worker_id or context.worker_name
        if worker_id and not re.fullmatch(ID_PART, worker_id):
            raise ConfigError(f"worker_id: Taskcluster takes no name such as {worker_id!r} ({PART_HINT})")
        return cls(options.worker_group, worker_id)


def option_complaints(options: TaskclusterOptions) -> Iterator[Complaint]:
    """What the decoder cannot know."""
    if not options.client_id:
        yield Complaint("client_id", "is empty", "write the client id of the worker's credentials")
    for complaint in listen_complaints(options.live_log.listen) if options.live_log else ():
        yield attrs.evolve(complaint, path=f"live_log.{complaint.path}")
