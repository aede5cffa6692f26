"""LauncherQueue: the one build that launchers dispatch to this worker."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from taskrunner.errors import Complaint, ConfigError, TaskFailed
from taskrunner.files.downloads.location import Location
from taskrunner.interfaces.plugin import QueueContext
from taskrunner.interfaces.push import Credits
from taskrunner.limits import ID_HINT, ID_PATTERN
from taskrunner.model import Claim, Document
from taskrunner.queues.launcher.build import Build
from taskrunner.queues.launcher.job.authors_words import in_words_of_job
from taskrunner.queues.launcher.job.submission import submission
from taskrunner.queues.launcher.log.build_log import LauncherLog, LogTarget
from taskrunner.queues.launcher.messages import Dispatch
from taskrunner.queues.launcher.options import LauncherOptions, option_complaints
from taskrunner.queues.launcher.record import BuildRecord
from taskrunner.queues.launcher.source import LauncherSource
from taskrunner.queues.listening import listen_complaints, open_listener
from taskrunner.queues.push.queue import PushQueue

DEFAULT_PORT = 3005


class LauncherQueue(PushQueue):
    """`launcher://HOST:PORT?build_id=ID`: where the worker listens, and whose build it is."""

    options = LauncherOptions

    def __init__(
        self,
        source: LauncherSource,
        worker_id: str = "push",
        home: Path | None = None,
        sample: Document | None = None,
    ) -> None:
        super().__init__(source, worker_id, home, sample)
        self._launchers = source

    @classmethod
    async def open(cls, options: LauncherOptions, context: QueueContext) -> Self:
        """Reads certificates, tokens and the signed URL. The port is opened when the worker has booted."""
        listener = await open_listener(context.url, options.listen, context, DEFAULT_PORT)
        build_id, target = build_id_of(context.url), log_target(options, context)

        def make_build(credits: Credits) -> Build:  # noqa: A002  the word of `PushSource.serve`
            record = BuildRecord(context.home / "launcher" / f"{build_id}.json")
            log = LauncherLog(target, context.home)
            return Build(build_id, credits, partial(submission, options=options), log, record)

        host_name = "" if options.development else socket.gethostname()
        source = LauncherSource(listener, make_build, host_name, options.close_timeout)
        return cls(source, context.worker_id, context.home, sample_task(options))

    @classmethod
    def check_options(cls, options: LauncherOptions) -> Iterable[Complaint]:
        return [*listen_complaints(options.listen), *option_complaints(options)]

    def in_authors_words(self, claim: Claim, complaints: Sequence[Complaint]) -> Sequence[Complaint]:
        return [in_words_of_job(complaint, claim.document) for complaint in complaints]

    async def close(self) -> None:
        await super().close()
        await self._launchers.close()


def build_id_of(url: str) -> str:
    """Raises: ConfigError."""
    query = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    names = [name for name, _ in query]
    if names != ["build_id"]:
        raise ConfigError("the URL of a launcher's worker ends in `?build_id=` and the id of the build")
    if not re.fullmatch(ID_PATTERN, query[0][1]):
        raise ConfigError(f"the `build_id` in the URL is no id of a task: {ID_HINT}")
    return query[0][1]


def sample_task(options: LauncherOptions) -> Document:
    """What a small job becomes."""
    job = {"steps": [{"run": "true"}]}
    return submission(Dispatch("sample", job), options).document


def log_target(options: LauncherOptions, context: QueueContext) -> LogTarget | None:
    """Raises: ConfigError, MalformedPayload (as `reveal` of a PluginContext)."""
    if options.log_upload is None:
        return None
    headers = {name: context.reveal(value) for name, value in options.log_upload.headers.items()}
    for name, value in headers.items():
        if not re.fullmatch(r"[\x20-\x7e]*", value):
            raise ConfigError(f"log_upload.headers.{name}: a header is one line of ASCII")
    try:
        return LogTarget(Location.parse(context.reveal(options.log_upload.url).strip()), headers)
    except TaskFailed as error:
        raise ConfigError(f"log_upload.url: {error.message.removeprefix('download: ')}") from None
