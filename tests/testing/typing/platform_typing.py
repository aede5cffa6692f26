"""What a type checker says of a platform. Each line that must be an error ignores it by its code: strict mypy reports
an ignore of an error that does not come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import attrs

from taskrunner import Engine, Execution, Platform, PlatformContext, RunContext, coroutine_platform


@attrs.frozen
class Words:
    text: str


@attrs.frozen
class Voice:
    loud: bool = False


@attrs.frozen
class Figures:
    count: int


class RightEngine(Engine[Words]):
    async def load(self, payload: Words) -> None:
        payload.text.strip()

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        raise NotImplementedError

    async def discard(self) -> None: ...


class WrongEngine(RightEngine):
    async def load(self, payload: Figures) -> None:  # type: ignore[override]
        payload.count.bit_count()


class RightPlatform(Platform[Words, Voice]):
    name = "words"
    payload = Words
    options = Voice

    def __init__(self, loud: bool) -> None:
        self.loud = loud

    @classmethod
    async def open(cls, options: Voice, context: PlatformContext) -> Self:
        return cls(options.loud)

    @classmethod
    def check(cls, payload: Words) -> None:
        payload.text.strip()

    async def new_engine(self, context: RunContext) -> Engine[Words]:
        return RightEngine()


class FiguresEngine(Engine[Figures]):
    async def load(self, payload: Figures) -> None: ...

    async def start(self, env: Mapping[str, str], *, stdin: bool = False) -> Execution:
        raise NotImplementedError

    async def discard(self) -> None: ...


class WrongPlatform(RightPlatform):
    name = 5  # type: ignore[assignment]
    payload = Figures  # type: ignore[assignment]
    options = Figures  # type: ignore[assignment]

    @classmethod
    async def open(cls, options: Figures, context: PlatformContext) -> Self:  # type: ignore[override]
        return cls(options.count > 0)

    @classmethod
    def check(cls, payload: Figures) -> None: ...  # type: ignore[override]

    async def new_engine(self, context: RunContext) -> Engine[Words]:
        return FiguresEngine()  # type: ignore[return-value]


async def use(platform: RightPlatform, context: RunContext) -> None:
    platform.check(Words("hello"))
    platform.check(Figures(1))  # type: ignore[arg-type]
    engine = await platform.new_engine(context)
    await engine.load(Words("hello"))
    await engine.load(Figures(1))  # type: ignore[arg-type]


@coroutine_platform("right", Words)
async def right(payload: Words, context: RunContext) -> int:
    return len(payload.text)


@coroutine_platform("wrong", Words)  # type: ignore[arg-type]
async def wrong(payload: Figures, context: RunContext) -> int:
    return payload.count


PLUGINS: Mapping[str, type[Platform[Words, Voice]]] = {"right": RightPlatform}
OTHERS: Mapping[str, type[Platform[Figures, Voice]]] = {"right": RightPlatform}  # type: ignore[dict-item]
