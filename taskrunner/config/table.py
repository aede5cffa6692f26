"""The table of one plugin in the configuration, decoded by the plugin's own class."""

from __future__ import annotations

from typing import Any

import attrs

from taskrunner.config.entry_points import Plugins
from taskrunner.errors import Complaint, ConfigError, MalformedPayload
from taskrunner.interfaces.platform import Platform
from taskrunner.interfaces.plugin import Plugin
from taskrunner.schema.decode import decode
from taskrunner.schema.validators import below

Configurable = type[Platform[Any, Any]] | type[Plugin]
"""A class with `options` and `check_options`."""


def decode_table(plugin: Configurable, table: object, path: str) -> tuple[object, tuple[Complaint, ...]]:
    """The options of a plugin, and the complaints about them. `path` is that of the table."""
    try:
        options: object = decode(plugin.options, table, path)
    except MalformedPayload as error:
        return None, error.complaints
    found = plugin.check_options(options)
    return options, tuple(attrs.evolve(each, path=below(path, each.path)) for each in found)


def table_complaints(plugins: Plugins[Any], name: str, table: object, path: str) -> tuple[Complaint, ...]:
    """What is wrong with the table of an installed plugin, which is loaded for that."""
    try:
        plugin = plugins.named(name)
    except ConfigError as error:
        return (Complaint(path, str(error)),)
    return decode_table(plugin, table, path)[1]
