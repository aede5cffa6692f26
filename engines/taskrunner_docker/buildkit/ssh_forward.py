"""`RUN --mount=type=ssh`: the agents of a build, by their ids: `moby.sshforward.v1.SSH`.

The daemon makes a socket in the step, and passes on what a program writes there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from taskrunner_docker.buildkit.grpc import INVALID_ARGUMENT, NOT_FOUND, GrpcError, Headers, Method, Unary, frame
from taskrunner_docker.buildkit.protobuf import as_bytes, as_text, encode_field, read_message
from taskrunner_docker.ssh.messages import Agent, AgentProtocolError, take_requests, with_length

CHECK_AGENT = "/moby.sshforward.v1.SSH/CheckAgent"
FORWARD_AGENT = "/moby.sshforward.v1.SSH/ForwardAgent"
DEFAULT_ID = "default"
"""Of a mount that names none."""
_ID_HEADER = b"buildkit.ssh.id"


def ssh_services(agents: Mapping[str, Agent]) -> dict[str, Method]:
    """Method path to the function that begins a call."""
    return {
        CHECK_AGENT: lambda _headers: Unary(partial(_check, agents)),
        FORWARD_AGENT: lambda headers: AgentCall(_find(agents, _id_of(headers))),
    }


class AgentCall:
    """A program in the build that uses the agent."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._received, self._answers = bytearray(), bytearray()
        self._closed = False

    def receive(self, message: memoryview) -> None:
        pieces: list[bytes] = read_message(message, {1: ("data", as_bytes)}).get("data", [])
        self._received += b"".join(pieces)
        try:
            for request in take_requests(self._received):
                self._answers += frame(encode_field(1, with_length(self._agent(request))))
        except AgentProtocolError as error:
            raise GrpcError(INVALID_ARGUMENT, f"no message for an SSH agent: {error}") from error

    def close(self) -> None:
        self._closed = True

    def pull(self) -> bytes:
        answers = bytes(self._answers)
        self._answers.clear()
        return answers

    @property
    def finished(self) -> bool:
        return self._closed and not self._answers


def _check(agents: Mapping[str, Agent], question: bytes) -> bytes:
    ids: list[str] = read_message(question, {1: ("id", as_text)}).get("id", [""])
    _find(agents, ids[-1])
    return b""


def _find(agents: Mapping[str, Agent], name: str) -> Agent:
    name = name or DEFAULT_ID
    if name not in agents:
        raise GrpcError(NOT_FOUND, f"no SSH key for the mount {name}: name one in build.ssh.keys of the task")
    return agents[name]


def _id_of(headers: Headers) -> str:
    return dict(headers).get(_ID_HEADER, b"").decode("utf-8", "replace")
