"""FakeExec: a small shell beside a scripted run.

It has `echo WORDS`, `env NAME`, `cat` (its input, until that ends), `sleep SECONDS`, `false` and `exit CODE`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from taskrunner.errors import NotSupported, TaskFailed
from taskrunner.interfaces.execution import Exec
from taskrunner.testing.fakes.run import FakeInput, FakeRun

KNOWN = ("echo", "env", "cat", "sleep", "false", "exit")

SIGKILL = 9


class FakeExec(Exec):
    """One command. It ends with its run at the latest."""

    def __init__(self, run: FakeRun, command: Sequence[str], *, tty: bool) -> None:
        if not command or command[0] not in KNOWN:
            raise TaskFailed("exec", f"cannot start {list(command)!r}: the fake has {', '.join(KNOWN)}")
        self.run, self.command, self.tty = run, command, tty
        self.size: tuple[int, int] | None = None
        self._input, self._output = FakeInput(), FakeInput()
        self._process = asyncio.create_task(self._work(*command), name=f"fake exec of {run.key}")
        self._process.add_done_callback(lambda _: self._ended())
        run.execs.append(self._process)

    @property
    def stdin(self) -> FakeInput:
        return self._input

    @property
    def stdout(self) -> AsyncIterator[bytes]:
        return _read(self._output)

    @property
    def stderr(self) -> AsyncIterator[bytes]:
        return _nothing()

    async def resize(self, rows: int, columns: int) -> None:
        if not self.tty:
            raise NotSupported("this command has no terminal")
        self.size = (rows, columns)

    async def wait(self) -> int:
        await asyncio.wait([self._process])
        return -SIGKILL if self._process.cancelled() else self._process.result()

    async def abort(self) -> None:
        self._process.cancel()
        await asyncio.wait([self._process])

    def _ended(self) -> None:
        self._input.broken = True
        self._output.chunks.put_nowait(b"")

    async def _work(self, verb: str, *words: str) -> int:
        if verb in {"exit", "false"}:
            return int(words[0]) if words else 1
        if verb == "sleep":
            await asyncio.sleep(float(words[0]))
        elif verb == "echo":
            await self._output.write(" ".join(words).encode() + b"\n")
        elif verb == "env":
            await self._output.write(self.run.env.get(words[0], "").encode() + b"\n")
        else:
            async for data in _read(self._input):
                await self._output.write(data)
        return 0


async def _read(source: FakeInput) -> AsyncIterator[bytes]:
    while data := await source.chunks.get():
        yield data


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


__all__ = ["FakeExec"]
