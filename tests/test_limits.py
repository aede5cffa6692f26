"""Every part that keeps a limit takes and refuses the same values, and no part has a second definition of one.

That the JSON Schema agrees with the decoder is shown in schema/test_json_schema.py.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from taskrunner import limits
from taskrunner.caches.folder_caches import FolderCaches
from taskrunner.cli.run import run_verb
from taskrunner.config.config import decode_config
from taskrunner.config.environment import read_dotenv
from taskrunner.config.secrets import SecretSource
from taskrunner.errors import ConfigError, MalformedPayload
from taskrunner.interfaces.artifacts import ArtifactStore
from taskrunner.interfaces.caches import Caches
from taskrunner.model import RunKey, Submission
from taskrunner.queues.submission import check_submission, is_task_id
from taskrunner.schema.canonical import canonical_json
from taskrunner.schema.parse import parse_document
from taskrunner.schema.task import decode_task, submission_of
from taskrunner.state.run_folder import RunFolder
from taskrunner.stores.folder import FolderStore
from taskrunner.testing import FakeCacheFolder, FakeCaches, MemoryStore
from taskrunner_process.command import environment
from tests.support.document_sample import CLASSES

MINIMAL = {"id": "a", "platform": "other", "word": "x"}
ROOT = Path(__file__).parents[1]

Keeper = Callable[[Any, Path], object]
"""A part that keeps a limit: raises for a value that is beyond it. The path is a folder of the test."""


def decoded(**fields: Any) -> None:
    decode_task(MINIMAL | fields, CLASSES)


def submitted(**fields: Any) -> None:
    check_submission(Submission(**{"task_id": "a", "document": {}} | fields))


def journaled(task_id: str, folder: Path) -> None:
    RunFolder(folder, RunKey(task_id, 0))


def known(task_id: str) -> None:
    if not is_task_id(task_id):
        raise ValueError(task_id)


def stored(store: ArtifactStore, run: RunKey, name: str) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"body"

    asyncio.run(store.put(run, name, body()))


def leased(caches: Caches, name: str) -> None:
    async def lease() -> None:
        await (await caches.exclusive(name)).discard()

    asyncio.run(lease())


def in_dotenv(name: str, folder: Path) -> None:
    (folder / ".env").write_text(f"{name}=value\n")
    if name not in read_dotenv(folder / ".env"):
        raise ConfigError(name)


def as_option(capacity: int) -> None:
    [option] = [each for each in run_verb.params if each.name == "capacity"]
    option.type.convert(str(capacity), option, click.Context(run_verb))


def text_of(size: int) -> str:
    """A document as JSON of so many bytes."""
    empty = canonical_json(MINIMAL | {"metadata": {"fill": ""}})
    return empty.replace('"fill":""', f'"fill":"{"x" * (size - len(empty))}"')


KEEPERS: dict[str, list[Keeper]] = {
    "id": [
        lambda task_id, _: decoded(id=task_id),
        lambda task_id, _: submission_of({"id": task_id}),
        lambda task_id, _: submitted(task_id=task_id),
        lambda task_id, _: known(task_id),
        journaled,
        lambda task_id, folder: stored(FolderStore(folder), RunKey(task_id, 0), "a"),
    ],
    "retries": [
        lambda retries, _: decoded(retries=retries),
        lambda retries, _: submitted(retries=retries),
    ],
    "priority": [
        lambda priority, _: decoded(priority=priority),
        lambda priority, _: submitted(priority=priority),
    ],
    "time": [
        lambda moment, _: decoded(deadline=moment.isoformat()),
        lambda moment, _: submitted(deadline=moment),
        lambda moment, _: submitted(not_before=moment),
    ],
    "document": [
        lambda size, _: parse_document(text_of(size), "task"),
        lambda size, _: submission_of(parse_document(text_of(size), "task")),
        lambda size, _: submitted(document=parse_document(text_of(size), "task")),
    ],
    "artifact": [
        lambda name, _: decoded(artifacts=[{"name": name, "path": "a"}]),
        lambda name, folder: stored(FolderStore(folder), RunKey("a", 0), name),
        lambda name, _: stored(MemoryStore(), RunKey("a", 0), name),
    ],
    "cache": [
        lambda name, _: decoded(caches=[{"name": name, "path": "a"}]),
        lambda name, folder: leased(FolderCaches(folder, FakeCacheFolder), name),
        lambda name, folder: leased(FakeCaches(folder), name),
    ],
    "secret": [
        lambda name, _: decoded(secrets={"A": {"secret": name}}),
        lambda name, _: decode_config({"secrets": {name: "value"}}),
    ],
    "variable": [
        lambda name, _: decoded(env={name: "value"}),
        lambda name, _: decoded(secrets={name: "value"}),
        lambda name, _: decode_config({"secrets": {"a": {"env": name}}}),
        lambda name, _: SecretSource(env=name),
        lambda name, folder: environment(RunKey("a", 0), "worker", folder, None, {name: "value"}),
        in_dotenv,
    ],
    "capacity": [
        lambda capacity, _: decode_config({"capacity": capacity}),
        lambda capacity, _: as_option(capacity),
    ],
}

WITHIN: dict[str, list[Any]] = {
    "id": ["a", "0", "_x", "-x", "a.b", "x" * 128, "hQeBVRJ4RXCuLZOSLnRCzA"],
    "retries": [0, limits.MAX_RETRIES],
    "priority": [limits.MIN_PRIORITY, limits.MAX_PRIORITY],
    "time": [limits.EARLIEST, limits.LATEST],
    "document": [limits.MAX_DOCUMENT],
    "artifact": ["a", "a b/ü.txt", ".hidden", "..a/b", "x" * 1024],
    "cache": ["a", "_", "a.b-c", "x" * 128],
    "secret": [".", "-", "a", "x" * 128],
    "variable": ["A", "_", "a1"],
    "capacity": [1, limits.MAX_CAPACITY],
}

BEYOND: dict[str, list[Any]] = {
    "id": ["", ".", ".a", "a/b", "a b", "a\n", "ä", "x" * 129],
    "retries": [-1, limits.MAX_RETRIES + 1, True, 1.0, "1"],
    "priority": [limits.MIN_PRIORITY - 1, limits.MAX_PRIORITY + 1],
    "time": [
        limits.EARLIEST - timedelta(microseconds=1),
        limits.LATEST + timedelta(microseconds=1),
        datetime(2030, 1, 1),  # noqa: DTZ001  a time without its zone is beyond the limit
    ],
    "document": [limits.MAX_DOCUMENT + 1],
    "artifact": ["", ".", "a/..", "/a", "a/", "a//b", "a\n", "a\x85", "a\udc80", "x" * 1025],
    "cache": ["", ".", "-a", "a/b", "a\n", "ä", "x" * 129],
    "secret": ["", "a b", "a\n", "ä", "x" * 129],
    "variable": ["1A", "A-B", "A B", "Ä"],
    "capacity": [0, limits.MAX_CAPACITY + 1],
}

REFUSALS = (MalformedPayload, ConfigError, ValueError, click.BadParameter)


def cases(values: dict[str, list[Any]]) -> list[Any]:
    return [
        pytest.param(keeper, value, id=f"{kind}-{index}-{number}")
        for kind, each in values.items()
        for index, keeper in enumerate(KEEPERS[kind])
        for number, value in enumerate(each)
    ]


@pytest.mark.parametrize(("keeper", "value"), cases(WITHIN))
def test_a_value_at_the_limit_is_taken(keeper: Keeper, value: Any, tmp_path: Path) -> None:
    keeper(value, tmp_path)


@pytest.mark.parametrize(("keeper", "value"), cases(BEYOND))
def test_a_value_beyond_the_limit_is_refused(keeper: Keeper, value: Any, tmp_path: Path) -> None:
    with pytest.raises(REFUSALS):
        keeper(value, tmp_path)


@pytest.mark.parametrize(
    ("field", "value"), [("task_id", ".a"), ("retries", 50), ("retries", True), ("priority", 101), ("deadline", 1)]
)
def test_a_queue_refuses_with_the_text_of_the_decoder(field: str, value: Any) -> None:
    with pytest.raises(MalformedPayload) as by_queue:
        submitted(**{field: value})
    with pytest.raises(MalformedPayload) as by_decoder:
        decoded(**{field.removeprefix("task_"): value})
    [mine], [theirs] = by_queue.value.complaints, by_decoder.value.complaints
    assert (mine.problem, mine.fix) == (theirs.problem, theirs.fix)


def test_no_pattern_and_no_hint_is_written_twice() -> None:
    texts = {name: value for name, value in vars(limits).items() if isinstance(value, str) and name.isupper()}
    assert {"ID_PATTERN", "CACHE_PATTERN", "SECRET_PATTERN", "ENV_PATTERN", "ARTIFACT_PATTERN", "ID_HINT"} <= set(texts)
    folders = ("taskrunner", "engines", "hosts")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py") if path.name != "limits.py"]
    assert [
        (path.name, name) for path in sources for name, text in texts.items() if text in path.read_text("utf-8")
    ] == []


def test_no_number_of_the_table_is_repeated_beside_its_word() -> None:
    """`retries` and 49, `priority` and 100, `capacity` and 1000 on one line of code."""
    numbers = {"retries": limits.MAX_RETRIES, "priority": limits.MAX_PRIORITY, "capacity": limits.MAX_CAPACITY}
    lines = [
        line for path in (ROOT / "taskrunner").rglob("*.py") if path.name != "limits.py"
        for line in path.read_text("utf-8").splitlines()
    ]  # fmt: skip
    assert len(lines) > 1000
    assert [
        line for line in lines for word, number in numbers.items() if word in line and re.search(rf"\b{number}\b", line)
    ] == []
