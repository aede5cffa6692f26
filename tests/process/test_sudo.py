"""Runs of a worker that is not root, which belong to other accounts by sudo."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskrunner_process.sudo import RULE
from tests.support.sudo_site import ACCOUNTS, RULES, WORKER, SudoSite

RUNS = "tests.process.sudo_runs"


@pytest.fixture
def site(open_tmp: Path) -> SudoSite:
    return SudoSite(open_tmp)


def test_a_run_belongs_to_the_account_and_nobody_sees_its_secrets(site: SudoSite) -> None:
    site.call(f"{RUNS}:belongs_to_the_account")
    seen = site.seen.read_text()
    assert "-u ci -g ci -- /usr/bin/env -i /bin/sh" in seen
    assert "hunter2" not in seen
    assert "$ODD" not in seen


@pytest.mark.parametrize(
    "run",
    [
        "keeps_what_the_worker_may_not_read",
        "ends_every_process",
        "ends_what_has_hidden",
        "hands_a_cache_over",
        "runs_steps",
        "reads_a_mount",
    ],
)
def test_by_sudo_a_run(site: SudoSite, run: str) -> None:
    site.call(f"{RUNS}:{run}")


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        (RULES.read_text().replace("(ci : ci)", "(ci-1 : ci-1)"), "a password is required"),
        (RULES.read_text().replace("!use_pty", "use_pty"), "does not replace itself"),
        (RULES.read_text().replace("closefrom_override, ", ""), "not permitted to use the -C option"),
    ],
)
def test_without_the_rule_the_worker_says_what_is_missing(open_tmp: Path, rules: str, problem: str) -> None:
    file = open_tmp / "rules"
    file.write_text(f"{rules}\n")
    site = SudoSite(open_tmp, rules=file)
    site.call(f"{RUNS}:is_refused")
    refusal = (site.home / "refusal").read_text()
    assert problem in refusal
    assert RULE.format(worker=WORKER, user="ci", group="ci") in refusal


def test_a_worker_outside_of_the_group_is_told_how_to_join_it(open_tmp: Path) -> None:
    site = SudoSite(open_tmp, members=False)
    site.call(f"{RUNS}:is_refused")
    assert "usermod -aG ci taskrunner" in (site.home / "refusal").read_text()


def test_the_page_shows_the_rule_that_the_worker_asks_for() -> None:
    shown = RULES.read_text()
    for user in ACCOUNTS:
        assert all(
            line in shown.splitlines() for line in RULE.format(worker=WORKER, user=user, group=user).splitlines()
        )
