"""A task of steps on the command line: its story in `show`, `show --json` and `logs`."""

from __future__ import annotations

import json
import re

from taskrunner.cli.display.step_lines import step_lines
from tests.support.command_line import CommandLine

TASK = {
    "id": "story",
    "platform": "process",
    "secrets": {"TOKEN": "s3cret-t0ken"},
    "steps": [
        {
            "name": "build",
            "id": "build",
            "run": "echo V=$TOKEN >>$TASKRUNNER_OUTPUT; echo W=$TOKEN >>$TASKRUNNER_ENV",
        },
        {"name": "with s3cret-t0ken", "env": {"V": "${steps.build.outputs.V}"}, "run": "echo $V $W; exit 4"},
        {"name": "deploy", "run": "true"},
        {"name": "report", "if": "failure()", "run": "echo reported"},
        {"if": "always()", "command": ["true"]},
    ],
}


def test_the_story_of_five_steps(cli: CommandLine) -> None:
    ended = cli("run", "--task", "-", stdin=json.dumps(TASK))
    assert ended.status == 1
    shown = cli.show("story")
    assert (shown["reason"], shown["message"]) == ("step-failed", "step 2/5 with ***: exit code 4")
    assert shown["runs"][0]["exit_code"] == 4
    steps = shown["runs"][0]["result"]["steps"]
    assert all(step.pop("seconds") is None or step["outcome"] != "skipped" for step in steps)
    assert steps == [
        {"name": "build", "id": "build", "outcome": "success", "exit_code": 0},
        {"name": "with ***", "id": "", "outcome": "failed", "exit_code": 4},
        {"name": "deploy", "id": "", "outcome": "skipped", "exit_code": None},
        {"name": "report", "id": "", "outcome": "success", "exit_code": 0},
        {"name": "true", "id": "", "outcome": "success", "exit_code": 0},
    ]
    text = cli("show", "story").out
    found = [re.sub(r"\d+\.\d\d s", "N s", " ".join(line.split())) for line in text.splitlines() if "    step " in line]
    assert found == [
        "step 2/5 with ***: exit code 4",
        "step 1/5 success N s build",
        "step 2/5 failed N s with *** (exit code 4)",
        "step 3/5 skipped deploy",
        "step 4/5 success N s report",
        "step 5/5 success N s true",
    ]
    assert '"outcome"' not in text
    log = cli("logs", "story").out
    assert "[taskrunner] step 2/5 with ***\n*** ***\n[taskrunner] step 2/5 with ***: failed (exit code 4) after" in log
    for said in (ended.out, ended.err, text, log, json.dumps(shown["runs"])):
        assert "s3cret" not in said


def test_a_run_that_is_stopped_for_its_time_keeps_its_steps(cli: CommandLine) -> None:
    task = {"id": "slow", "platform": "process", "max_run_time": 3, "steps": [{"run": "true"}, {"run": "sleep 1000"}]}
    cli("run", "--task", "-", stdin=json.dumps({**task, "steps": [*task["steps"], {"if": "always()", "run": "true"}]}))
    shown = cli.show("slow")
    assert shown["reason"] == "max-run-time"
    assert [step["outcome"] for step in shown["runs"][0]["result"]["steps"]] == ["success", "stopped", "skipped"]


def test_every_mistake_in_the_steps_is_named(cli: CommandLine) -> None:
    task = {"id": "bad", "platform": "process", "steps": [{"if": "maybe()"}, {"run": "x", "command": ["y"]}]}
    cli("run", "--task", "-", stdin=json.dumps(task))
    message = cli.show("bad")["message"]
    for complaint in (
        "steps[0]: runs nothing",
        "steps[0].if: has no function maybe()",
        "steps[1].command: stands beside",
    ):
        assert complaint in message


def test_a_result_of_another_form_is_no_table() -> None:
    for steps in (
        None,
        "x",
        [1],
        [{"name": 1, "outcome": "x"}],
        [{"name": "x"}],
        {"a": 1},
        [{"name": "x", "outcome": "y", "seconds": "z"}],
    ):
        assert step_lines({"steps": steps}) == []
    assert step_lines({}) == []


def test_a_hostile_name_does_not_reach_the_terminal() -> None:
    [line] = step_lines({"steps": [{"name": "\x1b]0;x\x07red", "outcome": "\x1b[2J", "seconds": 1}]})
    assert "\x1b" not in line
    assert "\x07" not in line
