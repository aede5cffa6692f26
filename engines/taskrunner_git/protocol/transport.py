"""The connection to a git server: over HTTP, or over one stream.

dulwich speaks the protocol. Added here are limits of time and size everywhere, and connections that another thread can
interrupt; no git configuration is read.
"""

from __future__ import annotations

from typing import Any

from dulwich.client import FetchPackResult, LsRemoteResult

from taskrunner_git.fetch_context import FetchContext
from taskrunner_git.protocol.answers import Answers, Write
from taskrunner_git.protocol.http_client import HttpClient
from taskrunner_git.protocol.stream_client import StreamClient
from taskrunner_git.remote import Remote


class Transport:
    """The connection to one repository."""

    def __init__(self, remote: Remote, context: FetchContext) -> None:
        self._watch = context.watch
        self._answers = Answers(remote, context.limits, context.watch)
        self._client = (
            HttpClient(remote, context, self._answers)
            if remote.is_http
            else StreamClient(remote, context.connections, self._answers)
        )
        self._path = b"" if remote.is_http else remote.path.encode()
        self._watch.begin()

    @property
    def peeled(self) -> dict[str, str]:
        """The commit of each annotated tag among the refs that were listed."""
        return self._answers.peeled

    def refs(self) -> LsRemoteResult:
        """All branches and tags of the repository."""
        return self._client.get_refs(self._path)

    def fetch(self, *, pack_data: Write, **how: Any) -> FetchPackResult:
        """As dulwich's `fetch_pack`."""
        return self._client.fetch_pack(self._path, pack_data=self._answers.pack(pack_data), **how)

    def close(self) -> str:
        """Ends the connection. Returns the standard error of ssh or of the local git, if one of them ran."""
        self._watch.end()
        stderr = self._client.stderr() if isinstance(self._client, StreamClient) else ""
        self._client.close()
        return stderr
