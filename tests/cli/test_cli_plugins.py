"""Plugins of packages of others, installed in a folder, chosen in the configuration, run from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.command_line import CommandLine
from tests.support.site_packages import install_module

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

CONFIG = """
[host.drop]
notice = "{folder}/leave"
capacity = 3

[queue]
url = "drop://{folder}/spool"

[queue.drop]
token = {{ secret = "drop" }}

[store.drop]
path = "{folder}/kept"

[script]
nice = 1

[secrets]
drop = {{ env = "DROP_TOKEN" }}
"""

ARTIFACT = [{"name": "made.txt", "path": "made.txt"}]


@pytest.fixture
def site(cli: CommandLine) -> CommandLine:
    """A machine with a platform, a host, a queue and a store that this project does not ship."""
    plugins, script = EXAMPLES / "plugins", EXAMPLES / "script_platform"
    for folder, module in ((plugins, "taskrunner_drop.py"), (script, "taskrunner_script.py")):
        install_module(cli.folder / "site", folder / module, folder / "pyproject.toml")
    cli.env |= {"PYTHONPATH": str(cli.folder / "site"), "DROP_TOKEN": "sesame-open"}
    (cli.folder / "spool").mkdir()
    (cli.folder / "taskrunner.toml").write_text(CONFIG.format(folder=cli.folder))
    return cli


def drop(site: CommandLine, task_id: str, **document: object) -> None:
    task = {"platform": "script", "script": "echo hi > made.txt", "artifacts": ARTIFACT, **document}
    (site.folder / "spool" / f"{task_id}.json").write_text(json.dumps(task))


def test_a_plugin_of_each_kind_is_chosen_in_the_configuration_and_runs(site: CommandLine) -> None:
    drop(site, "one", token="sesame-open")
    drop(site, "two", token="wrong")
    with site.start("run") as worker:
        assert ", rack drop)" in worker.until("with 3 slots, tasks from drop://")
        worker.until("one/0  completed")
        names = sorted(path.name for path in (site.folder / "spool").iterdir())
        assert names == ["one.answer", "one.taken", "two.refused"]
        (site.folder / "leave").write_text("maintenance at noon")
        worker.until("stops: maintenance at noon")
        assert worker.end() == 0
    kept = site.folder / "kept" / "one" / "0"
    assert "hi" in "".join(path.read_text() for path in (kept / "data").iterdir())
    log = (kept / "log").read_text()
    assert ", rack drop" in log.splitlines()[0]
    assert not (site.folder / "home" / "artifacts").exists()
    journal = site.run_log("one", "journal.jsonl").read_text()
    assert json.loads(journal.splitlines()[0])["data"]["host"]["rack"] == "drop"


def test_flags_and_variables_choose_them_too(site: CommandLine) -> None:
    text = CONFIG.format(folder=site.folder).replace(f'[queue]\nurl = "drop://{site.folder}/spool"\n', "")
    (site.folder / "taskrunner.toml").write_text(text.replace("[host.drop]", "[host.standalone]\n[host.drop]"))
    drop(site, "one", token="sesame-open")
    url = f"drop://{site.folder}/spool"
    assert "host: has the tables drop, standalone and no name" in site("config", "check").err
    ended = site("run", "--max-tasks", "1", "--host", "drop", "--queue", url)
    assert ended.status == 0, ended
    assert "with 3 slots" in ended.err
    site.env |= {"TASKRUNNER_HOST": "standalone", "TASKRUNNER_QUEUE": url}
    drop(site, "two", token="sesame-open")
    assert "with 1 slot," in site("run", "--max-tasks", "1").err


def test_config_check_opens_them_and_prints_what_is_in_effect(site: CommandLine) -> None:
    checked = site("config", "check")
    assert checked.status == 0, checked
    for line in (
        'store = "drop"',
        'host = "drop"',
        "capacity = 3",
        "[host.drop]",
        "[queue.drop]",
        'token = {secret = "drop"}',
        "[store.drop]",
        "[script]",
        "nice = 1",
    ):
        assert line in checked.out.splitlines()
    assert "sesame" not in checked.everything


def test_the_verbs_read_the_store_that_is_chosen(site: CommandLine) -> None:
    queue = ["--queue", f"sqlite://{site.folder}/queue.db"]
    task = 'id = "one"\nplatform = "script"\nscript = "echo said; echo hi > made.txt"\n'
    (site.folder / "one.toml").write_text(task + '[[artifacts]]\nname = "made.txt"\npath = "made.txt"\n')
    site("submit", "one.toml", *queue)
    assert site("run", "--until-empty", *queue).status == 0
    assert site("artifacts", "one", "made.txt", *queue).out == "hi\n"
    assert [each["name"] for each in json.loads(site("show", "one", "--json", *queue).out)["artifacts"]] == ["made.txt"]
    (site.folder / "home/runs/one/0/log").unlink()
    assert "said" in site("logs", "one", *queue).out


def test_a_queue_that_takes_no_submissions_says_so(site: CommandLine) -> None:
    for verb in (["list"], ["run", "--until-empty"]):
        ended = site(*verb)
        assert ended.status == 2
        assert "it takes no submissions and no queries (the log of a run is runs/ID/N/log in the home)" in ended.err


@pytest.mark.parametrize(
    ("change", "by", "line"),
    [
        ('notice = "{folder}/leave"', "", "host.drop.notice: is missing (add it)"),
        ("capacity = 3", "capacity = 0", "DropHost: capacity: must be at least 1"),
        ("capacity = 3", "capacty = 3", "host.drop.capacty: is not known here (did you mean capacity?)"),
        ('"{folder}/leave"', '"{folder}/no/leave"', "host.drop: notice: {folder}/no/leave is in no folder (make it"),
        ("{folder}/spool", "{folder}/no", "queue.drop: there is no folder {folder}/no (make it)"),
        ("token", "tokn", "queue.drop.tokn: is not known here (did you mean token?)"),
        ('secret = "drop"', 'secret = "dorp"', "queue.drop: this worker has no secret named dorp (have it added to"),
        ("DROP_TOKEN", "UNSET", "secrets.drop: the variable UNSET is not set or empty (give it the value)"),
        ('path = "{folder}/kept"', 'path = "kept"', "store.drop.path: is not a full path (begin it with /)"),
        ("[store.drop]", "[store.drap]", "store.drap: is not known here (did you mean drop?)"),
        ("nice = 1", "nice = '1'", "script.nice: expected a whole number, got a text"),
    ],
)
def test_a_mistake_in_a_table_is_named_by_both_verbs(site: CommandLine, change: str, by: str, line: str) -> None:
    text = CONFIG.replace(change, by).format(folder=site.folder)
    assert text != CONFIG.format(folder=site.folder)
    (site.folder / "taskrunner.toml").write_text(text)
    for verb in (["config", "check"], ["run", "--max-tasks", "1", "--idle-timeout", "0"]):
        ended = site(*verb)
        assert ended.status == 2, ended
        assert line.format(folder=site.folder) in ended.err
        assert ended.err.count("\n") == 1, "one mistake is told once"
        assert "sesame" not in ended.everything


LEAKY = """
from taskrunner import MemoryQueue, Secret

class Plugin(MemoryQueue):
    @classmethod
    async def open(cls, options, context):
        value = context.reveal(Secret("drop"))
        raise {error}(f"cannot log in to {{context.url}} with {{value}}")
"""


@pytest.mark.parametrize(("error", "status"), [("ValueError", 2), ("ConnectionError", 4), ("Refused", 2)])
def test_what_a_plugin_raises_is_shown_without_its_secrets(site: CommandLine, error: str, status: int) -> None:
    project = site.folder / "pyproject.toml"
    project.write_text(
        '[project]\nname = "leaky"\nversion = "1"\n[project.entry-points."taskrunner.queues"]\nleaky = "leaky:Plugin"\n'
    )
    source = LEAKY.format(error=error).replace("import MemoryQueue", "import ConfigError as Refused, MemoryQueue")
    (site.folder / "leaky.py").write_text(source)
    install_module(site.folder / "site", site.folder / "leaky.py", project)
    site.env["TASKRUNNER_QUEUE"] = "leaky://me:hunter2@host?token=hunter3"
    for verb in (["config", "check"], ["run"], ["list"]):
        ended = site(*verb)
        assert ended.status == status, ended
        assert "TASKRUNNER_QUEUE: " in ended.err
        assert "cannot log in to leaky://***@host?*** with ***" in ended.err
        assert not [word for word in ("sesame", "hunter") if word in ended.everything]


LICENSED = """
import attrs
from taskrunner import Platform, Secret


@attrs.frozen
class LicensedOptions:
    license: Secret


class Licensed(Platform):
    name, payload, options = "licensed", LicensedOptions, LicensedOptions

    @classmethod
    async def open(cls, options, context):
        context.reveal(options.license)
        return cls()

    async def new_engine(self, context):
        raise NotImplementedError
"""


def test_an_unknown_secret_of_a_platform_is_named_once_with_its_key(cli: CommandLine) -> None:
    package = '[project]\nname = "licensed"\nversion = "1"\n[project.entry-points."taskrunner.platforms"]\n'
    (cli.folder / "licensed.py").write_text(LICENSED)
    (cli.folder / "pyproject.toml").write_text(f'{package}licensed = "licensed:Licensed"\n')
    install_module(cli.folder / "site", cli.folder / "licensed.py", cli.folder / "pyproject.toml")
    cli.env |= {"PYTHONPATH": str(cli.folder / "site")}
    (cli.folder / "taskrunner.toml").write_text('[licensed]\nlicense = {secret = "absent"}\n')
    ended = cli("config", "check")
    assert ended.status == 2
    assert (
        ended.err
        == "taskrunner: taskrunner.toml: licensed.license: there is no secret named absent (add it to [secrets])\n"
    )
