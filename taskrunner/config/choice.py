"""The keys `queue`, `host` and `store`: each chooses a plugin, and has the tables of plugins.

A text is the short form: `queue = "nats://host"` is `[queue] url = "nats://host"`, `host = "aws"` is `[host]
name = "aws"`. The table of a plugin stands below, under its name: `[host.aws]`. If it is the only one, it chooses that
host or store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from taskrunner.config.entry_points import Plugins
from taskrunner.config.plugins import hosts, queues, stores
from taskrunner.config.table import table_complaints
from taskrunner.errors import Complaint, ConfigError
from taskrunner.schema.complaints import UNKNOWN_KEY, suggestion
from taskrunner.schema.validators import at_key


@attrs.frozen
class Choice:
    """One of these keys."""

    key: str
    word: str
    """The key of its table that chooses."""
    plugins: Callable[[], Plugins[Any]]

    def table(self, value: object) -> dict[str, Any]:
        """The long form of a value."""
        if isinstance(value, Mapping):
            return dict(value)
        return {} if value is None else {self.word: value}

    def path(self, value: object) -> str:
        """Where the choosing text stands, for messages."""
        return f"{self.key}.{self.word}" if isinstance(value, Mapping) else self.key

    def tables(self, value: object) -> dict[str, Any]:
        """The tables of plugins in a value, by name."""
        return {name: table for name, table in self.table(value).items() if name != self.word}

    def chosen(self, value: object, default: str) -> str:
        """What a value chooses. Raises ConfigError when that is not clear."""
        table, names = self.table(value), sorted(self.tables(value))
        if self.word in table or self.word == "url" or not names:
            return str(table.get(self.word, default))
        if len(names) > 1:
            raise ConfigError(
                f"{self.key}: has the tables {', '.join(names)} and no name (add `name = {names[0]!r}` to [{self.key}])"
            )
        return names[0]

    def complaints(self, value: object) -> Iterator[Complaint]:
        """What is wrong with a value, but for the choosing text itself."""
        if not isinstance(value, str | Mapping):
            yield Complaint(self.key, "expected a text or a table", f'write {self.key} = "..."')
            return
        for name, table in self.tables(value).items():
            if name in self.plugins():
                yield from table_complaints(self.plugins(), name, table, at_key(self.key, name))
            else:
                known = (self.word, *self.plugins())
                yield Complaint(at_key(self.key, name), UNKNOWN_KEY, suggestion(name, known))
        yield from self._unknown_name(value)

    def _unknown_name(self, value: object) -> Iterator[Complaint]:
        try:
            if name := self.plugin_name(self.table(value).get(self.word)):
                self.plugins().named(name)
        except ConfigError as error:
            yield Complaint(self.path(value), str(error))

    def plugin_name(self, text: object) -> str:
        """The plugin that a text chooses, the scheme of a URL; empty for what is none."""
        if not isinstance(text, str):
            return ""
        scheme, mark, _ = text.partition("://")
        return scheme if mark else "" if self.word == "url" else text


CHOICES = {
    "queue": Choice("queue", "url", queues),
    "host": Choice("host", "name", hosts),
    "store": Choice("store", "name", stores),
}
