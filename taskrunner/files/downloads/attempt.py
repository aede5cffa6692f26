"""One attempt to download a file, in a thread."""

from __future__ import annotations

from pathlib import Path

import attrs
import urllib3
import urllib3.exceptions

from taskrunner.connections import Connections
from taskrunner.files.downloads.client import Client
from taskrunner.files.downloads.location import Location
from taskrunner.files.downloads.network_errors import network_error
from taskrunner.files.downloads.transfer import Transfer


@attrs.frozen
class DownloadAttempt:
    location: Location
    transfer: Transfer
    connections: Connections
    connect: float
    """Seconds for a connection to come about."""
    silence: float
    """Seconds without a byte."""
    ca_file: Path | None = None

    def run(self) -> None:
        """Returns when the file is there and has its checksum.

        Raises: TaskFailed, TaskFailedInternally, Unavailable (the next attempt goes on where this one ended),
        Interrupted.
        """
        client = Client(self.connections, urllib3.Timeout(connect=self.connect, read=self.silence), self.ca_file)
        try:
            self._run(client)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self.connections.check()
            if not self.transfer.complete:
                raise network_error(client.location or self.location, error, self.connect, self.silence) from None
        finally:
            client.close()
            self.connections.close()

    def _run(self, client: Client) -> None:
        response = client.get(self.location, self.transfer.headers())
        at = client.location or self.location
        with response:
            self.transfer.receive(response, at, self.connections)
            ended_by_length = "Content-Length" in response.headers or response.chunked
            self.transfer.check(at, ended_by_length=ended_by_length)
