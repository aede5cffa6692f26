"""The standard input and the output of a container."""

from __future__ import annotations

from taskrunner_docker.container.configuration.pieces import Piece


def streams_piece(*, attach_stdin: bool, keep_stdin: bool) -> Piece:
    """`attach_stdin`: the attached stream is the standard input, which ends with it. `keep_stdin`: it stays open, and
    nothing ever comes. Docker keeps no log: that doubles the throughput, and the run has its own."""
    return Piece(
        config={
            "OpenStdin": attach_stdin or keep_stdin,
            "StdinOnce": attach_stdin,
            "AttachStdin": attach_stdin,
            "AttachStdout": True,
            "AttachStderr": True,
        },
        host_config={"LogConfig": {"Type": "none"}},
    )
