"""FakeResults: the results of a scripted run."""

from __future__ import annotations

import asyncio
import io
import posixpath
import tarfile
from collections.abc import AsyncIterator
from functools import partial

from taskrunner.errors import Bug
from taskrunner.interfaces.results import READ_SIZE, Entry, Results
from taskrunner.model import Document
from taskrunner.testing.fakes.run import FakeRun


class FakeResults(Results):
    """The files are those that the script names. They are in memory, never on disk."""

    def __init__(self, run: FakeRun, exit_code: int) -> None:
        self.run, self.exit_code, self.reason = run, exit_code, run.script.reason
        if run.starved:
            self.reason, self.message = "out-of-memory", f"its limit was {run.context.task.resources}"
        self._delivered = False

    async def archive_file(self, path: str) -> Entry:
        await self._archiving()
        name = self._resolve(path)
        if self._below(name):
            raise IsADirectoryError(path)
        if name not in self.run.files:
            raise FileNotFoundError(path)
        return self._entry(posixpath.basename(name), name)

    async def archive_folder(self, path: str) -> AsyncIterator[Entry]:
        folder, names = await self._folder(path)
        for name in names:
            relative = posixpath.relpath(name, folder)
            try:
                file = self._resolve(name)
            except PermissionError:
                self.run.context.log.say(f"left out {name}: the link leaves the run's folder")
                continue
            if file in self.run.files:
                yield self._entry(relative, file)

    async def archive(self, path: str = ".") -> Entry:
        folder, names = await self._folder(path)
        return Entry(posixpath.basename(folder), None, lambda: self._read(self._tar(folder, names)))

    def _tar(self, folder: str, names: list[str]) -> bytes:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name in names:
                member, data = tarfile.TarInfo(posixpath.relpath(name, folder)), self.run.files.get(name, b"")
                if name in self.run.script.links:
                    member.type, member.linkname = tarfile.SYMTYPE, self.run.script.links[name]
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return archive.getvalue()

    async def deliver(self) -> Document:
        self.run.called("deliver", held="results")
        if self._delivered or self.exit_code:
            raise Bug("deliver is called once, and after a success only")
        self._delivered = True
        await asyncio.sleep(self.run.script.deliver_for)
        await self.run.script.inject_fault("deliver")
        return dict(self.run.script.result)

    async def dispose(self) -> None:
        self.run.called("dispose")
        await self.run.script.inject_fault("dispose")
        self.run.backend.held.pop(self.run, None)

    async def _folder(self, path: str) -> tuple[str, list[str]]:
        """The name of a folder, and those of the files and links in it."""
        await self._archiving()
        folder = self._resolve(path)
        if folder in self.run.files:
            raise NotADirectoryError(path)
        names = self._below(folder)
        if not names and folder != ".":
            raise FileNotFoundError(path)
        return folder, names

    async def _archiving(self) -> None:
        self.run.called("archive", held="results")
        await self.run.script.inject_fault("archive")

    def _below(self, folder: str) -> list[str]:
        """Names of files and links in a folder, links unresolved."""
        names = sorted({*self.run.files, *self.run.script.links})
        return [name for name in names if folder == "." or name.startswith(folder + "/")]

    def _resolve(self, path: str) -> str:
        """The name with all links resolved. Raises PermissionError when one leads out of the run's folder."""
        name = posixpath.normpath(path)
        if name.startswith(("/", "../")) or name == "..":
            raise PermissionError(f"{path} leaves the run's folder")
        for link, target in self.run.script.links.items():
            if name == link or name.startswith(link + "/"):
                return self._resolve(posixpath.join(posixpath.dirname(link), target) + name[len(link) :])
        return name

    def _entry(self, name: str, file: str) -> Entry:
        return Entry(name, len(self.run.files[file]), partial(self._read, self.run.files[file]))

    async def _read(self, data: bytes) -> AsyncIterator[bytes]:
        if self.run not in self.run.backend.held:
            raise Bug("the results were disposed of")
        for begin in range(0, len(data), READ_SIZE):
            yield data[begin : begin + READ_SIZE]


__all__ = ["FakeResults"]
