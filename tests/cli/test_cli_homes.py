"""`logs`, `artifacts`, `show` and `wait` from another home than that of the worker."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from tests.support.command_line import CommandLine, open_gate

ONE = '[[artifacts]]\nname = "made"\npath = "made"\n'
TWO_STREAMS = "separate_stderr = true\n"


@attrs.frozen
class Homes:
    """One queue, the home of its worker, and the home of a reader."""

    worker: CommandLine
    reader: CommandLine
    queue: str


@pytest.fixture
def homes(tmp_path: Path) -> Homes:
    for name in ("worker", "reader"):
        (tmp_path / name).mkdir()
    return Homes(
        CommandLine(tmp_path / "worker"), CommandLine(tmp_path / "reader"), f"--queue=sqlite://{tmp_path}/queue.db"
    )


def test_a_log_is_followed_from_another_home_while_it_grows(homes: Homes) -> None:
    worker, reader, queue = homes.worker, homes.reader, homes.queue
    gate = worker.gate()
    worker("submit", worker.task("t", f"echo first; echo bad >&2; read x < {gate}; seq 200000", TWO_STREAMS), queue)
    with reader.start("logs", "t", "-f", queue) as following, worker.start("run", "--until-empty", queue) as running:
        following.until("first", stream="stdout")
        present = reader("logs", "t", queue)
        assert "first\n" in present.out
        assert "200000" not in present.out
        assert reader("logs", "t", "--stderr", queue).out == "bad\n"
        assert reader("logs", "t", "-t", queue).out.splitlines()[-1][:2] == "20", "a time, from the index"
        open_gate(gate)
        assert following.end() == 0
        assert running.end() == 0
    assert following.lines[-2:] == ["200000", following.lines[-1]]
    assert following.lines[-1].startswith("[taskrunner] completed after")
    assert reader("logs", "t", queue).raw == worker.run_log("t").read_bytes()
    assert not (reader.folder / "home" / "runs").exists()


def test_artifacts_story_and_end_are_found_from_another_home(homes: Homes) -> None:
    worker, reader, queue = homes.worker, homes.reader, homes.queue
    worker("submit", worker.task("t", "echo one > made; exit 3", ONE), queue)
    worker("run", "--until-empty", queue)
    assert reader("artifacts", "t", "made", queue).out == "one\n"
    assert [each["name"] for each in json.loads(reader("artifacts", "t", "--json", queue).out)] == ["made"]
    shown = json.loads(reader("show", "t", "--json", queue).out)
    assert [visit["state"] for visit in shown["runs"][0]["story"]][-1] == "resolved"
    assert [each["name"] for each in shown["artifacts"]] == ["made"]
    waited = reader("wait", "t", queue)
    assert waited.status == 1
    assert "exit-code" in waited.everything


def test_a_log_whose_run_folder_is_gone_comes_from_the_store_of_the_other_home(homes: Homes) -> None:
    worker, reader, queue = homes.worker, homes.reader, homes.queue
    worker("submit", worker.task("t", "echo kept"), queue)
    worker("run", "--until-empty", queue)
    before = worker.run_log("t").read_bytes()
    for file in sorted((worker.folder / "home" / "runs").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    assert reader("logs", "t", queue).raw == before
    assert reader("logs", "t", "-f", queue).raw == before


def test_a_home_that_is_not_here_is_named(homes: Homes) -> None:
    worker, reader, queue = homes.worker, homes.reader, homes.queue
    worker("submit", worker.task("t", "echo far"), queue)
    worker("run", "--until-empty", queue)
    (worker.folder / "home").rename(worker.folder / "moved")
    missing = reader("logs", "t", queue)
    assert (missing.status, missing.out) == (1, "")
    assert f"the home of its worker, {worker.folder}/home, is not on this machine" in missing.err


def test_retries_on_workers_of_two_homes_are_read_as_one_story(homes: Homes) -> None:
    worker, reader, queue = homes.worker, homes.reader, homes.queue
    again = worker.folder / "again"
    script = f"test -e {again} && echo second try && exit; echo first try; touch {again}; exit 7"
    worker("submit", worker.task("t", script, "[on_exit_status]\nretry = [7]\n"), queue)
    worker("run", "--max-tasks", "1", queue)
    reader("run", "--until-empty", queue)
    for each in (worker, reader):
        both = each("logs", "t", "--run", "0", queue).out + each("logs", "t", queue).out
        assert "first try\n" in both
        assert "second try\n" in both
