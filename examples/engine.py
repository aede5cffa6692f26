"""A platform of ten lines: a coroutine that runs a task."""

import attrs

from taskrunner import RunContext, coroutine_platform


@attrs.frozen
class Greeting:
    who: str


@coroutine_platform("greeting", Greeting)
async def greet(payload: Greeting, context: RunContext) -> int:
    context.log.say(f"hello {payload.who}")
    return 0
