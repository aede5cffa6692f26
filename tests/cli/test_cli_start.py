"""The imports of the command: click alone for its help, and no library of a platform that is not used."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from taskrunner.cli import VERBS, taskrunner
from tests.support.command_line import CommandLine

HEAVY = {"boto3", "botocore", "docker", "dulwich", "h2", "rich", "freezegun", "pytest"}


def imported(cli: CommandLine, *arguments: str) -> set[str]:
    """Every module that a command imports, by `-X importtime`."""
    command = [sys.executable, "-X", "importtime", "-m", "taskrunner", *arguments]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cli.folder, env=cli.env)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


def test_help_imports_click_alone(cli: CommandLine) -> None:
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", ""], check=True, capture_output=True, text=True, env=cli.env
    )
    always = {line.rpartition("|")[2].strip() for line in bare.stderr.splitlines()}
    ours = {name for name in imported(cli, "--help") if name.split(".")[0] not in sys.stdlib_module_names} - always
    assert {name for name in ours if name.split(".")[0] != "click"} <= {"taskrunner", "taskrunner.cli"}
    assert "click" in ours
    assert "asyncio" not in imported(cli, "--help")


def test_a_worker_runs_a_process_without_the_libraries_of_other_platforms(cli: CommandLine) -> None:
    cli("submit", cli.task("one", "true"))
    modules = imported(cli, "run", "--until-empty")
    assert "taskrunner_process.platform" in modules
    assert not {name.split(".")[0] for name in modules} & HEAVY
    assert cli.show("one")["resolution"] == "completed"


@pytest.mark.parametrize("verb", [*VERBS, "config check"])
def test_the_help_of_every_verb_has_an_example(verb: str) -> None:
    ended = CliRunner().invoke(taskrunner, [*verb.split(), "--help"])
    assert ended.exit_code == 0
    assert "\\b" not in ended.output
    assert f"taskrunner {verb}" in ended.output.partition("\n  Example:\n")[2]


def test_the_command_alone_prints_its_help(cli: CommandLine) -> None:
    ended = cli()
    assert all(line.strip() in ended.out + ended.err for _, line in VERBS.values())
    assert cli("--version").out.startswith("taskrunner, version ")
    mistyped = cli("sbmit")
    assert mistyped.status == 2
    assert "sbmit" in mistyped.err
