"""`[caches]`: a worker keeps the caches of its home within limits, before each run."""

from __future__ import annotations

from tests.support.command_line import CommandLine

CACHE = '[[caches]]\nname = "{}"\npath = "c"\n'


def test_the_caches_of_earlier_runs_are_evicted_before_a_run(cli: CommandLine) -> None:
    (cli.folder / "taskrunner.toml").write_text('[caches]\nmax_size = "3MB"\n')
    script = "ls c; head -c 2000000 /dev/zero > c/made"
    for number, name in enumerate(("a", "b", "b", "a")):
        cli("submit", cli.task(f"t{number}", script, CACHE.format(name)))
    assert cli("run", "--until-empty").status == 0
    found = ["made" in cli.run_log(f"t{number}").read_text().splitlines() for number in range(4)]
    assert found == [False, False, True, False], "b was used last, and a is evicted before the third run"
    assert "max_size = 3000000" in cli("config", "check").out
