"""AgentQueue: the runs that the callers of an agent dispatch."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Self

from taskrunner.errors import Complaint
from taskrunner.interfaces.plugin import QueueContext
from taskrunner.model import Document
from taskrunner.queues.agent.options import AgentOptions
from taskrunner.queues.agent.request import submission
from taskrunner.queues.agent.source import AgentSource
from taskrunner.queues.listening import listen_complaints, open_listener
from taskrunner.queues.push.queue import PushQueue

DEFAULT_PORT = 8089


SAMPLE: Document = {"platform": "process", "command": ["true"], "source": {"repository": "https://sample.invalid"}}
"""A task as those of callers are, but for what it does."""


class AgentQueue(PushQueue):
    """`agent://HOST:PORT`: where the agent listens."""

    options = AgentOptions

    @classmethod
    async def open(cls, options: AgentOptions, context: QueueContext) -> Self:
        """Reads certificates and tokens. The port is opened when the worker has booted."""
        listener = await open_listener(context.url, options.listen, context, DEFAULT_PORT)
        source = AgentSource(listener, partial(submission, options=options))
        return cls(source, context.worker_id, context.home, SAMPLE)

    @classmethod
    def check_options(cls, options: AgentOptions) -> Iterable[Complaint]:
        return listen_complaints(options.listen)
