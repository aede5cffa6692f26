"""A small fastlane-style server: sends one build to an agent, prints its log, and keeps its artifacts.

    python examples/fastlane_server.py HOST:8089 https://git.example/app.git COMMIT fastlane ios beta

Needs grpcio and grpcio-tools, which reads the protocol from agent.proto. An agent that is busy or lacks a toolchain
rejects the build, and one that is restarted is unavailable: both say nothing about the build, which is sent again.
Ctrl-C cancels it: the agent kills it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import grpc
import grpc.aio

sys.path.append(str(Path(__file__).resolve().parents[1] / "taskrunner/queues/agent/protocol"))
messages: Any = grpc.protos("agent.proto")  # in a project of your own: the code that protoc generates
State = messages.InvocationResponse.State

AGAIN = 5.0
"""Seconds until a build is sent again that the agent could not take."""

READING = {
    State.RUNNING: "running",
    State.FINISHING: "running",
    State.SUCCEEDED: "success",
    State.FAILED: "failure",
    State.BROKEN: "failure",
    State.REJECTED: "ci problem",
}
"""What the states of an invocation mean to the server."""


@attrs.define
class Build:
    """One build, as the server knows it."""

    command: Sequence[str]
    env: Mapping[str, str]
    status: str = "pending"
    states: list[str] = attrs.field(factory=list)
    log: list[str] = attrs.field(factory=list)
    archive: bytearray = attrs.field(factory=bytearray)
    """Archive.tgz."""
    error: str = ""
    stacktrace: str = ""
    exit_status: int = 0


class Agent:
    """An agent at an address, over one connection for all of its builds."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address)
        self.run_fastlane = self.channel.unary_stream(
            "/FastlaneCI.Proto.Agent/RunFastlane",
            request_serializer=messages.InvocationRequest.SerializeToString,
            response_deserializer=messages.InvocationResponse.FromString,
        )

    async def invoke(self, build: Build) -> AsyncIterator[Any]:
        """The messages about a build, which are kept in it. To cancel the build, the caller is cancelled.

        Raises: grpc.aio.AioRpcError.
        """
        command = {"bin": build.command[0], "parameters": build.command[1:], "env": build.env}
        async for message in self.run_fastlane(messages.InvocationRequest(command=command)):
            match message.WhichOneof("message_types"):
                case "state":
                    build.status = READING[message.state]
                    build.states.append(State.Name(message.state))
                case "log":
                    build.log.append(message.log.message)
                case "artifact":
                    build.archive += message.artifact.chunk
                case "error":
                    build.error, build.exit_status = message.error.description, message.error.exit_status
                    build.stacktrace = message.error.stacktrace
            yield message

    async def run(self, build: Build) -> Build:
        """The whole build, sent again until the agent has taken it. One that is lost in the middle is sent again too:
        what an agent has begun ends with it."""
        while True:
            attempt = attrs.evolve(build, states=[], log=[], archive=bytearray())
            try:
                async for message in self.invoke(attempt):
                    print(message.log.message, end="", flush=True)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                attempt.status, attempt.error = "ci problem", "agent not available"
            if attempt.status != "ci problem":
                return attempt
            print(f"not taken: {attempt.error}; sent again in {AGAIN:g} s", file=sys.stderr)
            await asyncio.sleep(AGAIN)

    async def close(self) -> None:
        await self.channel.close()


async def run_once(address: str, repository: str, commit: str, *command: str) -> Build:
    env = {"GIT_URL": repository, "GIT_SHA": commit, "CI": "true", "JOB_NAME": "example", "BUILD_NUMBER": "1"}
    agent = Agent(address)
    try:
        return await agent.run(Build(command, env))
    finally:
        await agent.close()


def main(*arguments: str) -> int:
    """The exit status of the build."""
    build = asyncio.run(run_once(*arguments))
    print(f"{build.status}: {' '.join(build.states)} {build.error}".rstrip())
    if build.archive:
        Path("Archive.tgz").write_bytes(build.archive)
    return build.exit_status or int(build.status != "success")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main(*sys.argv[1:]))
    sys.exit(130)
