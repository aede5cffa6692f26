"""Downloading a file over HTTP: checked while it comes, resumed when it breaks off, tried again when that may help."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from taskrunner.blocking import run_blocking
from taskrunner.connections import Connections
from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.files.downloads.location import Location
from taskrunner.interfaces.log import Log
from taskrunner.model import Progress

if TYPE_CHECKING:
    from taskrunner.files.downloads.transfer import Transfer

MAX_SIZE = 4 << 30
"""Bytes of an archive: thirty times the Linux kernel's."""
CONNECT_TIME = 15.0
"""Seconds for a connection to come about: a few retries of TCP's first packet."""
SILENCE = 60.0
"""Seconds without a byte after which a server is given up. A server that packs an archive first begins within 30."""
TOTAL_TIME = 3600.0
"""Seconds for all attempts: the largest archive at 10 Mbit/s."""
PAUSES = (1.0, 4.0, 15.0, 30.0)
"""Seconds before each further attempt: a restart of a server takes less than their sum."""
LONGEST_WAIT = 120.0
"""Seconds that a server may ask for by Retry-After. A longer wait ends the download, so that the run frees its slot."""
GRACE = 5.0
"""Seconds for the thread to end after its connections were closed."""


@attrs.frozen
class DownloadLimits:
    """The limits of one download."""

    size: int = MAX_SIZE
    connect: float = CONNECT_TIME
    silence: float = SILENCE
    total: float = TOTAL_TIME
    pauses: tuple[float, ...] = PAUSES
    longest_wait: float = LONGEST_WAIT


_DEFAULT_LIMITS = DownloadLimits()


async def download(
    location: Location,
    target: Path,
    sha256: str,
    *,
    log: Log,
    progress: Callable[[Progress], None],
    limits: DownloadLimits = _DEFAULT_LIMITS,
    ca_file: Path | None = None,
) -> int:
    """Fetches a file whose checksum is `sha256` (64 hex digits), and returns its size in bytes. With an empty `sha256`
    the file is taken as it is, if the server says where it ends.

    `target` is a file in a folder of ours, and is overwritten. `ca_file` has certificates of authorities that are
    trusted beside the system's. Credentials are sent to the scheme, host and port of the location only, whatever it
    redirects to. The log has a line for each further attempt. A cancel ends the connection at once. Whatever this
    raises, `target` may hold a part of the file, which the caller removes.

    Raises: TaskFailed `download-failed` (not found, refused, too large, a wrong checksum, a certificate that is not
    accepted), Unavailable (the last attempt failed, or time is up), TaskFailedInternally (this machine's disk, a
    library or `ca_file` is missing).
    """
    return await _Download(location, target, sha256, log, progress, limits, ca_file).run()


@attrs.frozen
class _Download:
    location: Location
    target: Path
    sha256: str
    log: Log
    progress: Callable[[Progress], None]
    limits: DownloadLimits
    ca_file: Path | None

    async def run(self) -> int:
        transfer = self._transfer()
        end = asyncio.get_running_loop().time() + self.limits.total
        for pause in self.limits.pauses:
            try:
                return await self._attempt(transfer, end)
            except Unavailable as error:
                await self._wait(error, max(pause, error.retry_after or 0), transfer, end)
        return await self._attempt(transfer, end)

    def _transfer(self) -> Transfer:
        try:
            from taskrunner.files.downloads.transfer import Transfer
        except ModuleNotFoundError as error:
            if error.name != "urllib3":
                raise
            raise TaskFailedInternally(
                "download: this worker cannot download: install taskrunner-worker[archives] on it"
            ) from None
        return Transfer(self.target, self.sha256, self.limits.size, self.progress)

    async def _attempt(self, transfer: Transfer, end: float) -> int:
        from taskrunner.files.downloads.attempt import DownloadAttempt

        connections, limits = Connections(), self.limits
        attempt = DownloadAttempt(self.location, transfer, connections, limits.connect, limits.silence, self.ca_file)
        await run_blocking(
            attempt.run,
            limit=end - asyncio.get_running_loop().time(),
            doing="a download",
            interrupt=connections.interrupt,
            grace=GRACE,
            error=lambda _: _OutOfTime(f"download: {self.location} took longer than {limits.total:g} s"),
        )
        return transfer.size

    async def _wait(self, error: Unavailable, pause: float, transfer: Transfer, end: float) -> None:
        """Before the next attempt. Raises the error when there is none."""
        left = end - asyncio.get_running_loop().time()
        if isinstance(error, _OutOfTime) or pause > min(self.limits.longest_wait, left):
            raise error
        how = f"goes on at {transfer.size} bytes" if transfer.size else "starts again"
        self.log.say(f"{error}; {how} in {pause:g} s")
        await asyncio.sleep(pause)


class _OutOfTime(Unavailable):
    """The limit for all attempts has passed."""
