"""The worker's configuration: its layers, and errors that name the layer."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner.amounts import Amounts
from taskrunner.config.config import Config, decode_config
from taskrunner.config.environment import environment, home, read_dotenv
from taskrunner.config.plugins import load_platform
from taskrunner.config.resource_options import ResourceOptions
from taskrunner.config.settings import load_settings
from taskrunner.errors import ConfigError
from taskrunner.interfaces.source import SourceOptions
from tests.support.document_sample import PLATFORM

EVERYTHING = """
capacity = 2
queue = "sqlite:///var/lib/taskrunner/queue.db"
lease = 30
min_free_disk = 0
[secrets]
git = {env = "GIT_TOKEN"}
registry = {file = "/etc/taskrunner/registry-password"}
plain = "abc"
[source]
archives = ["/srv/archives", "/srv/one.tar.gz"]
[quick]
speed = 7
"""


@pytest.fixture
def quick(install: Any) -> None:
    """A platform with a table in the configuration."""
    install("quick-engine", "platforms", "quick", PLATFORM.format(name="quick", field="word"))


def problems(path: Path | None = None, **flags: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_settings(path, flags)
    assert caught.value.__context__ is None
    return str(caught.value).splitlines()


@pytest.mark.usefixtures("folder")
def test_a_worker_needs_no_configuration(tmp_path: Path) -> None:
    config = load_settings(None, {}).config()
    assert config == Config()
    assert config.queue_url(tmp_path / "a b") == f"sqlite://{tmp_path}/a%20b/queue.db"


@pytest.mark.usefixtures("quick")
def test_every_key_of_a_file(folder: Path) -> None:
    (folder / "taskrunner.toml").write_text(EVERYTHING)
    config = load_settings(None, {}).config()
    assert (config.capacity, config.lease, config.min_free_disk) == (2, 30.0, 0)
    assert config.queue_url(folder) == "sqlite:///var/lib/taskrunner/queue.db"
    assert set(config.secrets) == {"git", "registry", "plain"}
    assert attrs.asdict(config.options(load_platform("quick"))) == {"speed": 7}  # type: ignore[call-overload]
    assert config.source == SourceOptions(("/srv/archives", "/srv/one.tar.gz"))
    assert "abc" not in repr(config)


def test_the_url_of_a_queue_may_leave_all_but_its_scheme_to_defaults() -> None:
    """A port of this machine, or what variables say."""
    assert decode_config({"queue": "agent://"}).queue == "agent://"


@pytest.mark.parametrize("path", ["archives", "", "~/archives", "/srv//x", "/srv/\n"])
def test_an_allowed_archive_has_its_full_path(path: str) -> None:
    with pytest.raises(ConfigError, match=r"source\.archives\[0\]: is not of the form it needs \(write the full path"):
        decode_config({"source": {"archives": [path]}})


@pytest.mark.usefixtures("quick")
def test_a_platform_without_a_table_has_its_defaults() -> None:
    assert attrs.asdict(Config().options(load_platform("quick"))) == {"speed": 1}  # type: ignore[call-overload]


def test_later_layers_win(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = tmp_path / "config" / "taskrunner"
    below.mkdir(parents=True)
    (below / "taskrunner.toml").write_text("capacity = 2")
    assert load_settings(None, {}).config() == Config(capacity=2)
    (folder / "taskrunner.toml").write_text("capacity = 3\nlease = 20")
    assert load_settings(None, {}).config() == Config(capacity=3, lease=20)
    (tmp_path / "named.toml").write_text("capacity = 4\nlease = 30")
    assert load_settings(tmp_path / "named.toml", {}).config() == Config(capacity=4, lease=30)
    (folder / ".env").write_text("TASKRUNNER_CAPACITY=5\nTASKRUNNER_QUEUE=sqlite:///q\n")
    assert load_settings(None, {}).config() == Config(capacity=5, lease=20, queue="sqlite:///q")
    monkeypatch.setenv("TASKRUNNER_CAPACITY", "1")
    assert load_settings(None, {}).config().capacity == 1
    assert load_settings(None, {"capacity": 6, "lease": None}).config().capacity == 6


@pytest.mark.usefixtures("quick")
def test_every_error_names_its_file_variable_or_flag(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "mine.toml"
    file.write_text(
        'capcity = 1\nqueue = "nowhere"\nsecrets = {two = {env = "A", file = "/b"}, rel = {file = "x"}, no = {}}\n'
        "[quick]\nspeeed = 1\n[dokker]\n"
    )
    monkeypatch.setenv("TASKRUNNER_CAPACITY", "many")
    monkeypatch.setenv("TASKRUNNER_MIN_FREE_DISK", "-1")
    found = problems(file, lease=1.0)
    for start, word in [
        (f"{file}: capcity: ", "did you mean capacity?"),
        (f"{file}: queue: ", "sqlite:///var/lib/taskrunner/queue.db"),
        (f"{file}: secrets.two: ", '{env = "NAME"}'),
        (f"{file}: secrets.rel.file: ", "full path"),
        (f"{file}: secrets.no: ", '{env = "NAME"}'),
        (f"{file}: quick.speeed: ", "did you mean speed?"),
        (f"{file}: dokker: ", "did you mean docker?"),
        ("TASKRUNNER_CAPACITY: ", "a whole number"),
        ("TASKRUNNER_MIN_FREE_DISK: ", "at least 0"),
        ("--lease: ", "at least 3"),
    ]:
        assert [line for line in found if line.startswith(start) and word in line], (start, word, found)
    assert len(found) == 10


def test_the_mapping_of_a_host_is_validated_too() -> None:
    with pytest.raises(ConfigError, match="configuration: tables: is not known here"):
        decode_config({"tables": {}})
    with pytest.raises(ConfigError, match="configuration: secrets: expected a table"):
        decode_config({"secrets": []})


@pytest.mark.usefixtures("folder")
def test_a_named_file_must_exist(tmp_path: Path) -> None:
    (line,) = problems(tmp_path / "absent.toml")
    assert line.startswith(f"{tmp_path}/absent.toml: cannot be read: No such file")


def test_an_error_of_toml_names_its_line(folder: Path) -> None:
    (folder / "taskrunner.toml").write_text("capacity = \n")
    (line,) = problems()
    assert line.startswith("taskrunner.toml: Invalid value (at line 1, column 12)")


@pytest.mark.usefixtures("folder")
def test_a_misspelt_variable_is_refused_and_an_unrelated_one_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKRUNNER_TASK_ID", "x")
    assert load_settings(None, {}).config() == Config()
    monkeypatch.setenv("TASKRUNNER_CAPACTY", "2")
    (line,) = problems()
    assert line == "TASKRUNNER_CAPACTY: is not known here (did you mean TASKRUNNER_CAPACITY?)"


def test_a_dotenv_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text(
        "# secrets\n\nexport A=1\nB = two words \nC='single # $x'\nD=\"double\"\nE=\nSET=file\nF=a=b#c\n"
    )
    monkeypatch.setenv("SET", "outside")
    assert read_dotenv(folder / ".env") == {
        "A": "1",
        "B": "two words",
        "C": "single # $x",
        "D": "double",
        "E": "",
        "SET": "file",
        "F": "a=b#c",
    }
    assert environment()["SET"] == "outside"
    assert environment()["A"] == "1"
    assert "A" not in os.environ


@pytest.mark.parametrize(
    "line", ["hunter2", "1A=hunter2", "A='hunter2", 'A="hunter2\\n"', 'A="$hunter2"', "A B=hunter2"]
)
def test_a_dotenv_line_is_refused_by_number_and_not_quoted(folder: Path, line: str) -> None:
    (folder / ".env").write_text(f"OK=1\n{line}\n")
    with pytest.raises(ConfigError, match=r"^\.env:2: ") as caught:
        environment()
    assert "hunter2" not in str(caught.value)


def test_a_dotenv_file_that_is_not_utf_8_is_refused(folder: Path) -> None:
    (folder / ".env").write_bytes(b"A=\xff")
    with pytest.raises(ConfigError, match="readable text file"):
        environment()


def test_a_dotenv_that_is_a_folder_is_refused(folder: Path) -> None:
    (folder / ".env").mkdir()
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        environment()


@pytest.mark.usefixtures("folder")
def test_only_its_owner_may_enter_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert home() == tmp_path / "data" / "taskrunner"
    assert home().stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("TASKRUNNER_HOME", str(tmp_path / "mine"))
    assert home() == tmp_path / "mine"
    (tmp_path / "file").touch()
    monkeypatch.setenv("TASKRUNNER_HOME", str(tmp_path / "file" / "below"))
    with pytest.raises(ConfigError, match="set TASKRUNNER_HOME"):
        home()


def test_the_resources_of_a_worker() -> None:
    options = decode_config(
        {
            "resources": {
                "memory": "8GiB",
                "cpus": 4,
                "gpu": 1,
                "default": {"memory": "1GiB"},
                "maximum": {"memory": "4GiB"},
            }
        }
    ).resources
    assert options == ResourceOptions(
        memory=8 << 30, cpus=4, named={"gpu": 1}, default=Amounts(memory=1 << 30), maximum=Amounts(memory=4 << 30)
    )


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"memory": "8G"}, "resources.memory: is no number of bytes"),
        ({"GPU": 1}, "resources.GPU: is not of the form it needs"),
        ({"default": {"cpu": 1}, "cpus": 4}, "resources: the default asks for cpu, which the worker does not have"),
        ({"cpus": 4, "default": {"cpus": 5}}, "resources: the default cpus 5 is more than what the worker has"),
        ({"maximum": {"pids": 4}, "default": {"pids": 5}}, "resources: the default pids 5 is more than the maximum"),
        ({"maximum": {"memory": True}}, "resources.maximum.memory: is no number of bytes"),
    ],
)
def test_resources_that_make_no_sense(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        decode_config({"resources": table})
