"""Plugins are found by their entry points, loaded late, and their errors name their package."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from taskrunner.config import plugins
from taskrunner.errors import ConfigError
from taskrunner.interfaces.host import Host
from tests.support.document_sample import PLATFORM


def test_the_shipped_plugins_are_installed() -> None:
    assert {"docker", "process"} <= set(plugins.platforms())
    assert "standalone" in plugins.hosts()
    assert "sqlite" in plugins.queues()
    assert issubclass(plugins.hosts()["standalone"], Host)


def test_listing_the_names_loads_nothing() -> None:
    script = """
import sys
from taskrunner.config import plugins
from taskrunner import config
assert "docker" in plugins.platforms() and "docker" in plugins.payload_classes()
assert list(plugins.platforms())
heavy = {"taskrunner_docker", "taskrunner_process", "docker", "dulwich", "h2", "boto3", "psutil"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_plugin_of_another_package(install: Any) -> None:
    install("other-engine", "platforms", "quick", PLATFORM.format(name="quick", field="word"))
    platform = plugins.load_platform("quick")
    assert platform is plugins.platforms()["quick"], "a class is loaded once"
    assert plugins.payload_classes()["quick"] is platform.payload
    assert len(plugins.payload_classes()) == len(plugins.platforms())
    assert set(plugins.payload_classes()) == set(plugins.platforms())


def test_an_unknown_platform_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no platform named dcker .did you mean docker"):
        plugins.load_platform("dcker")
    with pytest.raises(KeyError):
        plugins.payload_classes()["dcker"]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import absent_library", "ModuleNotFoundError: No module named 'absent_library'"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "AttributeError"),
        ("Plugin = 5", "is no subclass of Platform"),
        ("class Plugin: pass", "is no subclass of Platform"),
    ],
)
def test_the_error_of_a_broken_plugin_names_its_package(install: Any, source: str, says: str) -> None:
    package = f"broken{abs(hash(source))}"
    install(package, "platforms", "broken", source)
    with pytest.raises(ConfigError, match=f"platform broken of the package {package} cannot be loaded") as caught:
        plugins.load_platform("broken")
    assert says in str(caught.value)
    assert caught.value.__context__ is None


def test_a_payload_may_not_have_a_field_of_every_task(install: Any) -> None:
    install("greedy-engine", "platforms", "greedy", PLATFORM.format(name="greedy", field="env"))
    with pytest.raises(ConfigError, match="has a field env"):
        plugins.load_platform("greedy")


def test_the_error_of_a_platform_without_options_names_them(install: Any) -> None:
    source = (
        PLATFORM.format(name="bare", field="word").replace("options:", "choices:").replace("options =", "choices =")
    )
    install("bare-engine", "platforms", "bare", source)
    with pytest.raises(ConfigError, match="of the bare platform has no `options`: it needs all of"):
        plugins.load_platform("bare")


def test_a_platform_has_the_name_of_its_entry_point(install: Any) -> None:
    install("liar-engine", "platforms", "liar", PLATFORM.format(name="honest", field="word"))
    with pytest.raises(ConfigError, match="calls itself honest"):
        plugins.load_platform("liar")


def test_a_method_of_the_instance_in_the_place_of_one_of_the_class_is_named(install: Any) -> None:
    source = PLATFORM.format(name="mixed", field="word") + "\n    def check(self, payload): pass\n"
    install("mixed-engine", "platforms", "mixed", source)
    with pytest.raises(ConfigError, match="`check` of Plugin, the class of mixed, is no class method: put"):
        plugins.load_platform("mixed")


def test_two_packages_cannot_have_the_same_name(install: Any) -> None:
    install("second-sqlite", "queues", "sqlite", "class Plugin: pass")
    with pytest.raises(ConfigError, match="second-sqlite"):
        plugins.queues()


@pytest.mark.parametrize(("group", "base"), [("hosts", "Host"), ("queues", "Queue"), ("stores", "ArtifactStore")])
def test_a_plugin_that_cannot_be_opened_is_refused(install: Any, group: str, base: str) -> None:
    install(f"closed-{group}", group, "closed", f"from taskrunner import {base}\nclass Plugin({base}): pass")
    with pytest.raises(ConfigError, match="closed cannot be chosen: its class Plugin has no `open"):
        getattr(plugins, group)()["closed"]
    install(f"bare-{group}", group, "bare", BARE.format(base=base))
    with pytest.raises(ConfigError, match="`options` of its class Plugin is no attrs class"):
        getattr(plugins, group)()["bare"]


BARE = """
from taskrunner import {base}

class Plugin({base}):
    options = dict

    @classmethod
    async def open(cls, options, context): ...
"""
