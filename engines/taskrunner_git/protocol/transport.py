"""The connection to a git server: over HTTP, or over one stream.

dulwich speaks the protocol. Added here are time limits everywhere, and connections that another thread can interrupt;
no git configuration is read.
"""

from __future__ import annotations

from typing import Any

from dulwich.client import FetchPackResult, LsRemoteResult

from taskrunner_git.fetch_context import FetchContext
from taskrunner_git.protocol.http_client import HttpClient
from taskrunner_git.protocol.stream_client import StreamClient
from taskrunner_git.remote import Remote


class Transport:
    """The connection to one repository."""

    def __init__(self, remote: Remote, context: FetchContext) -> None:
        self._client = HttpClient(remote, context) if remote.is_http else StreamClient(remote, context.connections)
        self._path = b"" if remote.is_http else remote.path.encode()

    def refs(self) -> LsRemoteResult:
        """All branches and tags of the repository."""
        return self._client.get_refs(self._path)

    def fetch(self, **how: Any) -> FetchPackResult:
        """As dulwich's `fetch_pack`."""
        return self._client.fetch_pack(self._path, **how)

    def close(self) -> str:
        """Ends the connection. Returns the standard error of ssh or of the local git, if one of them ran."""
        stderr = self._client.stderr() if isinstance(self._client, StreamClient) else ""
        self._client.close()
        return stderr
