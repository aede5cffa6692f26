"""FakeExec: a small shell beside a scripted run.

It has `echo WORDS`, `cat` (its input until that ends, or files of the run), `sleep SECONDS`, `false`, `exit CODE`,
`read NAME` (which waits for a piece of input), `stty size`, and `sh -c` with one of these, or several after `&` and
`;`, in which `$NAME` is a variable, and `$PWD` its `cwd`.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from string import Template

from taskrunner.errors import NotSupported, TaskFailed
from taskrunner.interfaces.execution import Exec, Size
from taskrunner.testing.fakes.run import FakeInput, FakeRun

KNOWN = ("echo", "sh", "cat", "sleep", "false", "exit")

SIGKILL = 9


class FakeExec(Exec):
    """One command. It ends with its run at the latest."""

    def __init__(
        self, run: FakeRun, command: Sequence[str], *, tty: Size | None, env: Mapping[str, str], cwd: str
    ) -> None:
        if not command or command[0] not in KNOWN:
            raise TaskFailed("exec", f"cannot start {list(command)!r}: the fake has {', '.join(KNOWN)}")
        self.run, self.command, self.size = run, command, tty
        """`size` is that of the terminal, if it has one."""
        self.env, self.cwd = {**run.env, **env}, cwd
        self._input, self._output, self._errors = FakeInput(), FakeInput(), FakeInput()
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
        return _read(self._errors)

    async def resize(self, rows: int, columns: int) -> None:
        if not self.size:
            raise NotSupported("this command has no terminal")
        self.size = Size(rows, columns)

    async def wait(self) -> int:
        await asyncio.wait([self._process])
        return -SIGKILL if self._process.cancelled() else self._process.result()

    async def abort(self) -> None:
        self._process.cancel()
        await asyncio.wait([self._process])

    def _ended(self) -> None:
        self._input.broken = True
        self._output.chunks.put_nowait(b"")
        self._errors.chunks.put_nowait(b"")

    async def _work(self, verb: str, *words: str) -> int:
        if verb in {"exit", "false"}:
            return int(words[0]) if words else 1
        if verb == "sleep":
            await asyncio.sleep(float(words[0]))
        elif verb == "echo":
            await self._output.write(" ".join(words).encode() + b"\n")
        elif verb == "sh":
            return await self._shell(Template(words[-1]).safe_substitute(self.env, PWD=self.cwd))
        elif verb == "read":
            await self._input.chunks.get()
        elif verb == "stty" and self.size:
            await self._output.write(f"{self.size.rows} {self.size.columns}\n".encode())
        elif verb == "kill":
            return -int(words[0].lstrip("-"))
        elif words:
            return await self._copy_files(words)
        else:
            async for data in _read(self._input):
                await self._output.write(data)
        return 0

    async def _shell(self, text: str) -> int:
        status = 0
        for command in re.split("[&;]", text):
            if not (command.startswith("sleep") and f"{command}&" in text):  # that one goes on in the background
                status = await self._work(*command.split())
        return status

    async def _copy_files(self, names: Sequence[str]) -> int:
        for name in names:
            path = posixpath.normpath(posixpath.join(self.cwd, name))
            if path not in self.run.files:
                await self._errors.write(f"cat: {name}: No such file or directory\n".encode())
                return 1
            await self._output.write(self.run.files[path])
        return 0


async def _read(source: FakeInput) -> AsyncIterator[bytes]:
    while data := await source.chunks.get():
        yield data


__all__ = ["FakeExec"]
