"""What `submit` takes and refuses."""

from __future__ import annotations

import pytest

from tests.support.command_line import CommandLine

BAD_EVERYWHERE = """\
id = "a b"
platform = "docker"
image = "app"
retries = -1
[build]
push = true
"""
COMPLAINTS = ["id: is not of", "retries: must be at least 0", "build: stands beside `image`", "build.tags: is empty"]


@pytest.mark.parametrize("call", [["submit"], ["submit", "--check"], ["submit", "--force"], ["run", "--task"]])
def test_every_complaint_comes_at_once_those_of_the_platform_and_about_a_bad_id_too(
    cli: CommandLine, call: list[str]
) -> None:
    ended = cli(*call, "-", stdin=BAD_EVERYWHERE)
    assert (ended.status, ended.out) == (2, "")
    assert [ended.err.count(complaint) for complaint in COMPLAINTS] == [1] * 4


def test_a_mistake_that_only_the_platform_finds_is_refused_unless_forced(cli: CommandLine) -> None:
    task = 'id = "t"\nplatform = "process"\ncommand = []\n'
    for call in (["submit"], ["submit", "--check"]):
        refused = cli(*call, "-", stdin=task)
        assert (refused.status, refused.out) == (2, "")
        assert "command: names no program" in refused.err
    assert not (cli.folder / "home").exists()
    forced = cli("submit", "--force", "-", stdin=task)
    assert (forced.status, forced.out) == (0, "t\n")
    assert "command: names no program" in forced.err
    assert cli("run", "--until-empty").status == 0
    assert cli.show("t")["reason"] == "malformed-payload"


def test_a_check_queues_nothing_and_makes_nothing(cli: CommandLine) -> None:
    checked = cli("submit", "--check", cli.task("hello", "true"))
    assert (checked.status, checked.out, checked.err) == (0, "no mistakes found\n", "")
    assert not (cli.folder / "home").exists()


def test_a_platform_that_is_not_here_is_a_warning_and_a_misspelt_one_is_refused(cli: CommandLine) -> None:
    elsewhere = 'id = "t"\nplatform = "qemu"\ndisk = "x"\n'
    queued = cli("submit", "-", stdin=elsewhere)
    assert (queued.status, queued.out) == (0, "t\n")
    assert "there is no 'qemu' platform here" in queued.err
    wrong = cli("submit", "-", stdin=elsewhere + "retries = -1\n")
    assert (wrong.status, wrong.out) == (2, "")
    assert "retries: must be at least 0" in wrong.err
    misspelt = cli("submit", "-", stdin='platform = "proces"\ncommand = ["true"]\n')
    assert (misspelt.status, misspelt.out) == (2, "")
    assert "did you mean process?" in misspelt.err


def test_an_id_that_cannot_be_printed_is_told(cli: CommandLine) -> None:
    ended = cli.to_full_disk("submit", cli.task("hello", "true"))
    assert ended.status == 4
    assert "hello is queued, and its id cannot be printed: No space left" in ended.err
    assert cli.show("hello")["state"] == "pending"
