"""Opening what a worker's configuration names, before its first claim: secrets, queue, store, platforms with a table.

`taskrunner config check` does the same, so that both find the same mistakes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import attrs

from taskrunner.config.config import Config
from taskrunner.config.open_errors import explain
from taskrunner.config.opening import chosen_queue, chosen_store, open_queue, open_store
from taskrunner.config.secret_check import refused_by_reveal, without_source, without_value
from taskrunner.config.secrets import Secrets
from taskrunner.errors import ConfigError, TaskrunnerError, Unavailable, WorkerBroken
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.plugin import PluginContext
from taskrunner.interfaces.queue import Queue
from taskrunner.runs.platforms import Platforms


@attrs.define
class Opening:
    """What is open so far. What a program gives is not opened."""

    config: Config
    context: PluginContext
    known: Secrets
    platforms: Platforms
    warn: Callable[[str], None]
    queue: Queue | None = None
    store: ArtifactStore | None = None
    _opened: dict[str, object] = attrs.field(init=False, factory=dict)
    """The decoded tables of the queue and the store that the configuration has chosen, by their paths."""

    async def run(self, new_queue: Callable[[str], Queue] | None, store: ArtifactStore | None) -> None:
        """Does all of it, whatever fails. A platform that does not answer is a warning: the worker waits for it, or the
        run that needs it ends.

        Raises: ConfigError with every mistake, Unavailable, WorkerBroken.
        """
        self.queue, self.store = new_queue(self.context.worker_id) if new_queue else None, store
        platforms = [partial(self._open_platform, name) for name in self._with_table]
        errors = await _errors_of(self._open_queue, self._open_store, *platforms)
        lines = [line for error in errors if isinstance(error, ConfigError) for line in str(error).splitlines()]
        if mistakes := [*self._secret_problems(), *filter(self._is_news, lines)]:
            raise ConfigError("\n".join(mistakes))
        if errors:
            raise errors[0]

    def _secret_problems(self) -> list[str]:
        """What secrets lack. A queue or store that did not open has said itself what its secrets lack."""
        return without_value(self.config, self.known) + without_source(self.config, self._tables())

    def _tables(self) -> dict[str, object]:
        platforms = self.platforms.classes
        return {name: self.config.options(platforms[name]) for name in self._with_table} | self._opened

    def _is_news(self, line: str) -> bool:
        """Whether a mistake is another one than that a secret has no value, or is unknown."""
        repeats = any(line.endswith(problem) for problem in self.known.problems())
        return not repeats and line not in refused_by_reveal(self.config, self._tables())

    @property
    def _with_table(self) -> list[str]:
        return sorted(set(self.config.tables) & set(self.platforms.classes))

    async def _open_queue(self) -> None:
        if self.queue is None:
            self.queue = await open_queue(self.config, self.context)
            chosen = chosen_queue(self.config, self.context.home)
            self._opened[chosen.path] = chosen.options()

    async def _open_store(self) -> None:
        if self.store is None:
            self.store = await open_store(self.config, self.context)
            chosen = chosen_store(self.config)
            self._opened[chosen.path] = chosen.options()

    async def _open_platform(self, name: str) -> None:
        try:
            await self.platforms.get(name)
        except Exception as error:
            problem = explain(error, self.config.place(name), f"the {name} platform")
            if not isinstance(error, Unavailable):
                raise problem from error
            self.warn(str(problem))


async def _errors_of(*steps: Callable[[], Awaitable[None]]) -> list[TaskrunnerError]:
    errors: list[TaskrunnerError] = []
    for step in steps:
        try:
            await step()
        except (ConfigError, Unavailable, WorkerBroken) as error:
            errors.append(error)
    return errors
