"""The tar stream of a folder, which ends for a while when one of its files is read a second time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Self

from taskrunner_docker.container.open_tar import OpenTar
from taskrunner_docker.container.tar_parts import TarMember

Read = Callable[[], AsyncIterator[bytes]]


class FolderStream:
    """Docker locks a container until a tar of it is read to its end or closed: a question about another file, asked
    meanwhile, would have no answer. So the stream is closed before, and begins again at the next member."""

    def __init__(self, opening: Callable[[], AbstractAsyncContextManager[OpenTar]]) -> None:
        self._opening = opening
        self._stack = AsyncExitStack()
        self._opened: OpenTar | None = None
        self._passed = 0
        """Members that were returned."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._leave()

    async def next(self) -> TarMember | None:
        """Raises: FileNotFoundError, RunLost, TaskFailedInternally."""
        if self._opened is None:
            self._opened = await self._stack.enter_async_context(self._opening())
            for _ in range(self._passed):
                await self._opened.next()
        self._passed += 1
        return await self._opened.next()

    def reads(self, member: TarMember, alone: Read) -> Read:
        """Of the member that was returned last. The stream has its contents once; for a second try, after a store has
        failed, `alone` asks Docker for them."""
        first = iter((self._opened,))

        def read() -> AsyncIterator[bytes]:
            opened = next(first, None)
            return opened.contents(member) if opened else self._without(alone)

        return read

    async def _without(self, alone: Read) -> AsyncIterator[bytes]:
        await self._leave()
        async for piece in alone():
            yield piece

    async def _leave(self) -> None:
        await self._stack.aclose()
        self._opened = None
