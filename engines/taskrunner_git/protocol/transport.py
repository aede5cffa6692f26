"""How to talk to a git server: over HTTP, or over one stream.

dulwich speaks the protocol. What is its own here: time limits everywhere, a connection that can be ended from another
thread, and nothing is read from anybody's git configuration.
"""

from __future__ import annotations

from typing import Any

from dulwich.client import FetchPackResult, LsRemoteResult

from taskrunner.connections import Connections
from taskrunner_git.protocol.http_client import HttpClient
from taskrunner_git.protocol.stream_client import StreamClient
from taskrunner_git.remote import Remote


class Transport:
    """The connection to one repository."""

    def __init__(self, remote: Remote, connections: Connections) -> None:
        self._client = HttpClient(remote, connections) if remote.is_http else StreamClient(remote, connections)
        self._path = b"" if remote.is_http else remote.path.encode()

    def refs(self) -> LsRemoteResult:
        """All branches and tags there."""
        return self._client.get_refs(self._path)

    def fetch(self, **how: Any) -> FetchPackResult:
        """As dulwich's `fetch_pack`."""
        return self._client.fetch_pack(self._path, **how)

    def close(self) -> str:
        """Ends it. Returns what the program at the other end, if there is one, wrote on its standard error."""
        said = self._client.said() if isinstance(self._client, StreamClient) else ""
        self._client.close()
        return said
