"""The keys `queue`, `host` and `store`: their two forms, the tables of plugins below them, and who wins."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import attrs
import pytest

from taskrunner import Config, Host, Leave
from taskrunner.config.config import decode_config
from taskrunner.config.plugins import queues, stores
from taskrunner.config.settings import host_config, load_settings
from taskrunner.errors import ConfigError, Unavailable

STORE = """
import attrs
from taskrunner import Complaint, Secret
from taskrunner.stores.folder import FolderStore

@attrs.frozen
class Options:
    bucket: str
    key: Secret | None = None
    parts: int = 1

class Plugin(FolderStore):
    options = Options

    @classmethod
    async def open(cls, options, context): ...

    @classmethod
    def check_options(cls, options):
        return [Complaint("parts", "is odd", "add one")] if options.parts == 3 else []
"""

QUEUE = """
import attrs
from taskrunner import MemoryQueue

@attrs.frozen
class Options:
    subject: str = "tasks"

class Plugin(MemoryQueue):
    options = Options

    @classmethod
    async def open(cls, options, context): ...
"""


@pytest.fixture(autouse=True)
def _plugins(install: Any) -> None:
    install("a-store", "stores", "bucket", STORE)
    install("another-store", "stores", "pail", STORE)
    install("a-queue", "queues", "wire", QUEUE)


def lines(values: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        decode_config(values, "{}".format)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ({"queue": "wire://host"}, {"queue": {"url": "wire://host"}}),
        ({"host": "standalone"}, {"host": {"name": "standalone"}}),
        ({"store": "bucket"}, {"store": {"name": "bucket"}}),
    ],
)
def test_a_text_is_the_short_form_of_a_table(short: dict[str, Any], long: dict[str, Any]) -> None:
    assert decode_config(short) == decode_config(long)


def test_a_table_is_decoded_by_the_class_of_its_plugin() -> None:
    config = decode_config({"store": {"bucket": {"bucket": "b", "key": {"secret": "s"}}}, "queue": {"wire": {}}})
    assert config.store == "bucket", "the only table chooses"
    assert config.queue == "", "a queue needs a URL"
    options: Any = config.plugin_options("store", "bucket", stores()["bucket"])
    assert (options.bucket, options.key.name, options.parts) == ("b", "s", 1)
    assert attrs.asdict(config.plugin_options("queue", "wire", queues()["wire"])) == {  # type: ignore[call-overload]
        "subject": "tasks"
    }


def test_all_complaints_come_at_once_with_their_paths() -> None:
    found = lines(
        {
            "queue": {"url": "wired://x", "wire": {"subjct": "a"}, "wyre": {}},
            "store": {"name": "bukket", "bucket": {"bucket": 5, "part": 1}, "pail": {"bucket": "b", "parts": 3}},
            "host": {"nam": "x"},
        }
    )
    for line in (
        "queue.wire.subjct: is not known here (did you mean subject?)",
        "queue.wyre: is not known here (did you mean wire?)",
        "queue.url: there is no queue named wired (did you mean wire?)",
        "store.bucket.bucket: expected a text, got a whole number (write it in quotes)",
        "store.bucket.part: is not known here (did you mean parts?)",
        "store.pail.parts: is odd (add one)",
        "store.name: there is no store named bukket (did you mean bucket?)",
        "host.nam: is not known here (did you mean name?)",
    ):
        assert line in found
    assert len(found) == 8


@pytest.mark.parametrize("value", [5, ["a"], None, True])
@pytest.mark.parametrize("key", ["queue", "host", "store"])
def test_another_form_is_refused(key: str, value: object) -> None:
    assert lines({key: value}) == [f'{key}: expected a text or a table (write {key} = "...")']


@pytest.mark.parametrize("form", ["text", "table"])
@pytest.mark.parametrize(("key", "word"), [("queue", "url"), ("host", "name"), ("store", "name")])
def test_what_chooses_is_a_text_that_is_not_empty(key: str, word: str, form: str) -> None:
    path = key if form == "text" else f"{key}.{word}"
    wrong = "nowhere" if key == "queue" else ""
    assert lines({key: wrong if form == "text" else {word: wrong}})[0].startswith(f"{path}: ")
    assert lines({key: {word: 5}}) == [f"{key}.{word}: expected a text, got a whole number (write it in quotes)"]


def test_two_tables_without_a_name_choose_nothing() -> None:
    tables = {"bucket": {"bucket": "a"}, "pail": {"bucket": "b"}}
    assert lines({"store": tables})[0].startswith("store: has the tables bucket, pail and no name")
    assert decode_config({"store": {"name": "pail", **tables}}).store == "pail"


def test_a_required_option_without_a_table_names_its_path() -> None:
    config = decode_config({"store": "bucket"})
    with pytest.raises(ConfigError, match=r"^store.bucket.bucket: is missing \(add it\)$"):
        config.plugin_options("store", "bucket", stores()["bucket"])


def test_a_flag_chooses_another_queue_and_the_tables_of_the_file_stay(folder: Path) -> None:
    (folder / "taskrunner.toml").write_text('[queue]\nurl = "sqlite:///a"\n[queue.wire]\nsubject = "s"\n')
    config = load_settings(None, {"queue": "wire://b"}).config()
    assert config.queue == "wire://b"
    assert config.plugin_tables == {"queue": {"wire": {"subject": "s"}}}
    assert config.place("queue") == "--queue"
    assert config.place("queue.wire", "queue") == "taskrunner.toml: queue.wire"
    assert config.place("store.folder", "store") == "store"


def test_a_variable_chooses_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "taskrunner.toml").write_text('store = "folder"\n[host.standalone]\n')
    monkeypatch.setenv("TASKRUNNER_STORE", "pail")
    monkeypatch.setenv("TASKRUNNER_WORKER_ID", "ci-1")
    config = load_settings(None, {}).config()
    assert (config.store, config.host, config.worker_id) == ("pail", "standalone", "ci-1")
    monkeypatch.setenv("TASKRUNNER_STORE", "pal")
    monkeypatch.setenv("TASKRUNNER_WORKER_ID", "../x")
    with pytest.raises(ConfigError) as caught:
        load_settings(None, {})
    assert str(caught.value).startswith(
        "TASKRUNNER_STORE: there is no store named pal (did you mean pail?)\nTASKRUNNER_W"
    )


# ---- the layer of the host ------------------------------------------------------------------------------


class Rack(Host):
    """A host with a configuration."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    identity = {"host": "rack"}  # noqa: RUF012  a property would be longer

    def load_config(self) -> dict[str, Any]:
        return self.values

    async def shutting_down(self) -> Leave:
        raise NotImplementedError


def test_the_host_wins_over_the_file_and_not_over_variables_and_flags(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "taskrunner.toml").write_text('capacity = 2\nlease = 20\nmin_free_disk = 2\nstore = "pail"\n')
    monkeypatch.setenv("TASKRUNNER_LEASE", "30")
    settings = load_settings(None, {"queue": "wire://of-the-flag"})
    rack = Rack(capacity=3, lease=33, queue={"url": "wire://of-the-host", "wire": {"subject": "s"}}, worker_id="i-07")
    config = settings.config(asyncio.run(host_config(rack)))
    assert (config.capacity, config.lease, config.min_free_disk) == (3, 30, 2)
    assert (config.queue, config.store, config.worker_id) == ("wire://of-the-flag", "pail", "i-07")
    assert config.plugin_tables["queue"] == {"wire": {"subject": "s"}}
    assert config.place("capacity") == "the configuration of Rack: capacity"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"capacty": 1}, "the configuration of Rack: capacty: is not known here (did you mean capacity?)"),
        ({"host": "other"}, "the configuration of Rack: host: the host is chosen already (leave it out)"),
    ],
)
def test_a_mistake_of_the_host_names_it(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        asyncio.run(host_config(Rack(**values)))
    assert str(caught.value) == line


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (
            ValueError("no such key"),
            ConfigError,
            "host: the configuration of Mute cannot be opened: ValueError: no such",
        ),
        (ConnectionError("refused"), Unavailable, "host: the configuration of Mute cannot be opened now: refused"),
        (Unavailable("try later"), Unavailable, "host: try later"),
        (None, ConfigError, "the configuration of Mute: is no mapping: NoneType"),
    ],
)
def test_a_host_that_fails_to_say_its_configuration(answer: object, kind: type[Exception], text: str) -> None:
    class Mute(Rack):
        def load_config(self) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    with pytest.raises(kind) as caught:
        asyncio.run(host_config(Mute()))
    assert str(caught.value).startswith(text)


def test_a_program_leaves_to_the_host_what_it_does_not_set() -> None:
    mine = Config(lease=30, secrets=decode_config({"secrets": {"a": "mine", "b": "mine"}}).secrets)
    theirs = decode_config({"capacity": 4, "lease": 40, "secrets": {"b": "theirs", "c": "theirs"}})
    filled = mine.filled(theirs)
    assert (filled.capacity, filled.lease) == (4, 30)
    assert {name: source.literal for name, source in filled.secrets.items()} == {
        "a": "mine",
        "b": "mine",
        "c": "theirs",
    }
