"""`config check`, `states` and `schema`: mistakes are named by file and key, machines and schemas are printed."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import CommandLine

CONFIG = """\
capacity = 2

[secrets]
git = {env = "GIT_TOKEN"}
literal = "sesame-open-1"

[docker.registries."localhost:5000"]
username = "demo"
password = "sesame-open-2"
"""


def test_a_mistake_is_named_by_file_and_key_by_every_verb(cli: CommandLine) -> None:
    (cli.folder / "worker.toml").write_text("capacity = 0\nlaese = 3\n[process]\nuzer = 'me'\n")
    for arguments in (["config", "check"], ["run"], ["list"]):
        ended = cli(*arguments, "--config", "worker.toml")
        assert (ended.status, ended.out) == (2, "")
        assert "worker.toml: capacity: must be at least 1" in ended.err
        assert "worker.toml: laese: is not known here (did you mean lease?)" in ended.err
        assert "worker.toml: process.uzer: is not known here" in ended.err


def test_later_layers_win_and_each_is_named(cli: CommandLine) -> None:
    (cli.folder / "taskrunner.toml").write_text("capacity = 2\nlease = 30\n")
    (cli.folder / ".env").write_text("TASKRUNNER_LEASE=40\n")
    queue = f"sqlite://{cli.folder}/of-the-flag.db"
    checked = cli("config", "check", "--queue", queue)
    assert checked.status == 0
    for line in ("capacity = 2", "lease = 40", f'queue = "{queue}"', "# read from taskrunner.toml"):
        assert line in checked.out.splitlines()
    cli.env["TASKRUNNER_CAPACITY"] = "many"
    ended = cli("config", "check")
    assert ended.status == 2
    assert "TASKRUNNER_CAPACITY: expected a whole number" in ended.err


def test_secrets_are_checked_and_never_shown(cli: CommandLine) -> None:
    (cli.folder / "taskrunner.toml").write_text(CONFIG)
    ended = cli("config", "check")
    assert ended.status == 2
    assert "secrets.git: the variable GIT_TOKEN is not set" in ended.err
    cli.env["GIT_TOKEN"] = "sesame-open-3"
    ended = cli("config", "check")
    assert ended.status == 0
    assert '"localhost:5000" = {username = "demo", password = "***"}' in ended.out
    assert "sesame" not in ended.out + ended.err


def test_the_section_of_sources_is_printed(cli: CommandLine) -> None:
    config = cli.folder / "taskrunner.toml"
    config.write_text('[source]\narchives = ["/srv/archives"]\n')
    assert '\n[source]\narchives = ["/srv/archives"]\n' in cli("config", "check").out
    config.write_text("")
    assert "[source]" not in cli("config", "check").out


def test_the_resources_are_printed_as_they_can_be_written(cli: CommandLine) -> None:
    config = cli.folder / "taskrunner.toml"
    text = "[resources]\nmemory = 8589934592\ncpus = 4.0\ngpu = 1\ndefault = {memory = 1073741824, cpus = 0.5}\n"
    config.write_text(text)
    assert text in cli("config", "check").out
    config.write_text("")
    assert "[resources]" not in cli("config", "check").out


def test_a_missing_file_is_an_error(cli: CommandLine) -> None:
    ended = cli("config", "check", "--config", "nowhere.toml")
    assert (ended.status, ended.err) == (2, "taskrunner: --config: there is no file nowhere.toml\n")


@pytest.mark.parametrize("machine", ["task", "worker"])
def test_a_machine_is_printed_from_its_declaration(cli: CommandLine, machine: str) -> None:
    table = json.loads(cli("states", machine, "--format", "json").out)
    assert any(row["source"] == row["target"] for row in table["rows"])
    printed = cli("states", machine).out
    assert all(event in printed for event in table["events"])
    assert " · " in printed
    assert cli("states", machine, "--format", "mermaid").out.startswith("stateDiagram-v2")
    assert cli("states", machine, "--format", "dot").out.startswith(f"digraph {machine} {{")


def test_the_schema_of_a_task_lists_the_platforms(cli: CommandLine) -> None:
    schema = json.loads(cli("schema", "task").out)
    assert schema["properties"]["platform"]["enum"] == ["docker", "process"]


def test_a_login_with_an_unknown_secret_is_a_mistake(cli: CommandLine) -> None:
    login = '[docker.registries."registry.example.com"]\nusername = "ci"\npassword = {secret = "registry"}\n'
    config = cli.folder / "taskrunner.toml"
    config.write_text(login)
    ended = cli("config", "check")
    assert ended.status == 2
    assert (
        'docker.registries["registry.example.com"].password: there is no secret named registry (add it to [secrets])'
        in ended.err
    )
    config.write_text(login + '[secrets]\nregistry = "a literal one"\n')
    assert cli("config", "check").status == 0
