"""One more command in a run of the small platform."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import struct
import termios
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from taskrunner import Exec, Input, NotSupported
from taskrunner.interfaces.execution import Size
from tests.testing.planted.small_processes import EXEC, PipeInput, kill_all


class SmallExec(Exec):
    def __init__(
        self, process: asyncio.subprocess.Process, mark: str, ends: tuple[int, int, int | None], tty: bool
    ) -> None:
        self.process, self.mark, self.tty = process, mark, tty
        self.input, self.output, self.errors = PipeInput(ends[0]), ends[1], ends[2]
        self.pipes: dict[int, asyncio.StreamReader] = {}
        self.transports: list[Any] = []

    @classmethod
    async def start(cls, command: Sequence[str], env: dict[str, str], folder: Path, tty: Size | None) -> Self:
        mark = secrets.token_hex(8)
        if tty:
            mine, theirs = os.openpty()
            given, ends = (theirs, theirs, theirs), (os.dup(mine), mine, None)
        else:
            (stdin, writing), (reading, stdout), (errors, stderr) = os.pipe(), os.pipe(), os.pipe()
            given, ends = (stdin, stdout, stderr), (writing, reading, errors)  # type: ignore[assignment]
        try:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=folder, env=cls.environment(env, mark), start_new_session=True,
                stdin=given[0], stdout=given[1], stderr=given[2],
            )  # fmt: skip
        finally:
            for number in set(given):
                os.close(number)
        started = cls(process, mark, ends, tty is not None)
        await started.connect()
        if tty:
            await started.resize(tty.rows, tty.columns)
        return started

    @classmethod
    def environment(cls, env: dict[str, str], mark: str) -> dict[str, str]:
        return {**env, EXEC: mark}

    async def connect(self) -> None:
        for number in (self.output, self.errors):
            if number is not None:
                reader = asyncio.StreamReader()
                protocol = asyncio.StreamReaderProtocol(reader)
                transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                    lambda protocol=protocol: protocol,
                    os.fdopen(number, "rb", 0),  # type: ignore[misc]
                )
                self.pipes[number] = reader
                self.transports.append(transport)

    @property
    def stdin(self) -> Input:
        return self.input

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        return self.read(self.output)

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        return self.read(self.errors)

    async def read(self, number: int | None) -> AsyncIterator[bytes]:
        with suppress(OSError):  # the end of a terminal
            while number is not None and (data := await self.pipes[number].read(1 << 16)):
                yield data

    async def resize(self, rows: int, columns: int) -> None:
        if not self.tty:
            raise NotSupported("there is no terminal")
        fcntl.ioctl(self.output, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def wait(self) -> int:
        return await self.process.wait()

    async def abort(self) -> None:
        await kill_all(EXEC, self.mark)
        await self.wait()

    async def close(self) -> None:
        await self.input.close()
        for transport in self.transports:
            transport.close()
