"""Plugins: platforms, hosts, queues and stores, found by their entry points and loaded at their first use.

A package declares its plugins in its own metadata::

    [project.entry-points."taskrunner.platforms"]
    qemu = "taskrunner_qemu:QemuPlatform"       # a subclass of interfaces.platform.Platform, whose `name` is qemu

    [project.entry-points."taskrunner.hosts"]
    rack = "taskrunner_rack:RackHost"           # a subclass of interfaces.host.Host

    [project.entry-points."taskrunner.queues"]
    nats = "taskrunner_nats:NatsQueue"          # a subclass of interfaces.queue.Queue, for the URLs nats://...

    [project.entry-points."taskrunner.stores"]
    s3 = "taskrunner_s3:S3Store"                # a subclass of interfaces.artifacts.ArtifactStore

Each is opened by its class method `open(options, context)`: see `interfaces.plugin`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from types import MethodType
from typing import Any

import attrs

from taskrunner.config.entry_points import Plugins
from taskrunner.errors import ConfigError
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.platform import Platform
from taskrunner.interfaces.plugin import Plugin
from taskrunner.interfaces.queue import Queue
from taskrunner.schema.check import PayloadClasses
from taskrunner.schema.task import TASK_FIELDS


@cache
def platforms() -> Plugins[Platform[Any, Any]]:
    """The platforms that are installed."""
    return Plugins("platform", Platform, _check_platform)  # type: ignore[type-abstract]  # it is only compared with


@cache
def hosts() -> Plugins[Host]:
    """The hosts that are installed."""
    return Plugins("host", Host, _check_plugin)  # type: ignore[type-abstract]  # as above


@cache
def queues() -> Plugins[Queue]:
    """The queues that are installed, by the scheme of their URLs."""
    return Plugins("queue", Queue, _check_plugin)  # type: ignore[type-abstract]  # as above


@cache
def stores() -> Plugins[ArtifactStore]:
    """The stores that are installed."""
    return Plugins("store", ArtifactStore, _check_plugin)  # type: ignore[type-abstract]  # as above


def load_platform(name: str) -> type[Platform[Any, Any]]:
    """The class of one platform. Raises ConfigError."""
    return platforms().named(name)


def _check_class_methods(name: str, plugin: type, methods: Iterable[str]) -> None:
    """Raises: ConfigError. Without this, the first call of one would be an error of Python's about its arguments."""
    for method in methods:
        if not isinstance(getattr(plugin, method, None), MethodType):
            raise ConfigError(
                f"`{method}` of {plugin.__name__}, the class of {name}, is no class method: put @classmethod above it"
            )


def _check_plugin(name: str, plugin: type[Plugin]) -> None:
    _check_class_methods(name, plugin, ("open", "check_options"))
    if plugin.open.__func__ is Plugin.open.__func__:  # type: ignore[attr-defined]  # a bound method of a class
        raise ConfigError(f"{name} cannot be chosen: its class {plugin.__name__} has no `open(options, context)`")
    if not attrs.has(plugin.options):
        raise ConfigError(f"{name} cannot be chosen: `options` of its class {plugin.__name__} is no attrs class")


def _check_platform(name: str, platform: type[Platform[Any, Any]]) -> None:
    if absent := [each for each in ("name", "payload", "options") if not hasattr(platform, each)]:
        raise ConfigError(
            f"the class {platform.__name__} of the {name} platform has no `{absent[0]}`: it needs all of "
            "`name`, `payload` and `options`"
        )
    if taken := sorted(set(TASK_FIELDS) & {field.name for field in attrs.fields(platform.payload)}):
        raise ConfigError(f"the payload of the {name} platform has a field {taken[0]}, which every task has: rename it")
    _check_class_methods(name, platform, ("open", "check", "check_options"))
    if platform.name != name:
        raise ConfigError(f"the {name} platform calls itself {platform.name}: its entry point needs the same name")


def payload_classes() -> Mapping[str, type]:
    """The payload classes of the installed platforms, for `decode_task` and `task_schema`."""
    return PayloadClasses(platforms())
