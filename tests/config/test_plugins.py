"""Plugins are found by their entry points, loaded late, and blamed by the name of their package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from taskrunner.config import plugins as registry
from taskrunner.errors import Bug, ConfigError
from taskrunner.interfaces.host import Host
from taskrunner.queues.sqlite.queue import SqliteQueue
from tests.support.document_sample import PLATFORM


def test_what_ships_is_installed() -> None:
    assert {"docker", "process"} <= set(registry.platforms())
    assert "standalone" in registry.hosts()
    assert "sqlite" in registry.queues()
    assert issubclass(registry.hosts()["standalone"], Host)


def test_knowing_the_names_loads_nothing() -> None:
    script = """
import sys
from taskrunner.config import plugins as registry
from taskrunner import config
assert "docker" in registry.platforms() and "docker" in registry.payload_classes()
assert list(registry.platforms())
heavy = {"taskrunner_docker", "taskrunner_process", "docker", "dulwich", "h2", "boto3", "psutil"} & set(sys.modules)
sys.exit(str(heavy) if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_a_plugin_of_another_package(install: Any) -> None:
    install("other-engine", "platforms", "quick", PLATFORM.format(name="quick", field="word"))
    platform = registry.load_platform("quick")
    assert platform is registry.platforms()["quick"], "a class is loaded once"
    assert registry.payload_classes()["quick"] is platform.payload
    assert len(registry.payload_classes()) == len(registry.platforms())
    assert set(registry.payload_classes()) == set(registry.platforms())


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(ConfigError, match=r"no platform named dcker .did you mean docker"):
        registry.load_platform("dcker")
    with pytest.raises(KeyError):
        registry.payload_classes()["dcker"]


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
def test_a_broken_plugin_is_blamed_by_its_package(install: Any, source: str, says: str) -> None:
    package = f"broken{abs(hash(source))}"
    install(package, "platforms", "broken", source)
    with pytest.raises(ConfigError, match=f"platform broken of the package {package} cannot be loaded") as caught:
        registry.load_platform("broken")
    assert says in str(caught.value)
    assert caught.value.__context__ is None


def test_a_payload_may_not_take_what_every_task_has(install: Any) -> None:
    install("greedy-engine", "platforms", "greedy", PLATFORM.format(name="greedy", field="env"))
    with pytest.raises(Bug, match="has a field env"):
        registry.load_platform("greedy")


def test_a_platform_without_options_is_told_what_it_lacks(install: Any) -> None:
    source = (
        PLATFORM.format(name="bare", field="word").replace("options:", "choices:").replace("options =", "choices =")
    )
    install("bare-engine", "platforms", "bare", source)
    with pytest.raises(Bug, match="of the bare platform has no `options`: it needs all of"):
        registry.load_platform("bare")


def test_a_platform_has_one_name(install: Any) -> None:
    install("liar-engine", "platforms", "liar", PLATFORM.format(name="honest", field="word"))
    with pytest.raises(Bug, match="calls itself honest"):
        registry.load_platform("liar")


def test_two_packages_cannot_have_the_same_name(install: Any) -> None:
    install("second-sqlite", "queues", "sqlite", "class Plugin: pass")
    with pytest.raises(ConfigError, match="second-sqlite"):
        registry.open_queue("sqlite:///x")


def test_a_queue_by_its_url(tmp_path: Path) -> None:
    assert isinstance(registry.open_queue(f"sqlite://{tmp_path}/a%20b.db", "w"), SqliteQueue)
    for url in ("sqlite://relative.db", "sqlite:///", "sqlite:///a?mode=ro"):
        with pytest.raises(ConfigError, match="names no file"):
            registry.open_queue(url)
    with pytest.raises(ConfigError, match=r"no queue named sqlight .did you mean sqlite"):
        registry.open_queue("sqlight:///x")


QUEUE = """
from taskrunner.queues.memory import MemoryQueue

class Plugin(MemoryQueue):
    @classmethod
    def from_url(cls, url, worker_id):
        return url, worker_id
"""


def test_a_queue_may_take_the_url_itself(install: Any) -> None:
    install("other-queue", "queues", "nats", QUEUE)
    assert registry.open_queue("nats://host:4222/stream", "w") == ("nats://host:4222/stream", "w")
