"""`config check` and `run` agree about a configuration: same exit status, same words, which name the same key."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pytest

from tests.support.command_line import LIMIT, TASKRUNNER, CommandLine, CommandResult
from tests.support.site_packages import install_module

Prepare = Callable[[Path], object]


@attrs.frozen
class Case:
    """One configuration: `FOLDER` stands for the folder of the test, where both verbs are called."""

    file: str = ""
    says: str = ""
    """The beginning of a line of the message; empty when a worker starts."""
    variables: Mapping[str, str] = attrs.field(factory=dict)
    flags: tuple[str, ...] = ()
    prepare: Prepare = lambda folder: None
    status: int = 2


def write(name: str, text: str) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / name).write_text(text.replace("FOLDER", str(folder)))
        (folder / name).chmod(0o600)

    return prepare


def database(folder: Path) -> None:
    with sqlite3.connect(folder / "damaged.db") as db:
        db.execute("CREATE TABLE meta (key TEXT, value TEXT)")
        db.executemany("INSERT INTO meta VALUES (?, ?)", [("x" * 500, "y" * 500)] * 100)
    db.close()
    data = bytearray((folder / "damaged.db").read_bytes())
    data[100:4096] = b"\xff" * (4096 - 100)
    (folder / "damaged.db").write_bytes(data)


def in_home(name: str, text: str = "") -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / "home").mkdir()
        (folder / "home" / name).write_text(text)

    return prepare


RIGHT = {
    "none": Case(),
    "every plain key": Case('capacity = 2\nlease = 30\nmin_free_disk = 0\nworker_id = "ci-1"\n'),
    "queue as a text": Case('queue = "sqlite://FOLDER/q.db"'),
    "queue as a table": Case('[queue]\nurl = "sqlite://FOLDER/q.db"\n[queue.sqlite]\n'),
    "queue by default, with a table": Case("[queue.sqlite]\n"),
    "queue in a new folder": Case(flags=("--queue", "sqlite://FOLDER/new/folder/q.db")),
    "queue of a variable": Case(variables={"TASKRUNNER_QUEUE": "sqlite://FOLDER/q.db"}),
    "store as a text": Case('store = "folder"'),
    "store by its table": Case('[store.folder]\npath = "FOLDER/new/kept"\n'),
    "store as a table": Case('[store]\nname = "folder"\n[store.folder]\n'),
    "host as a text": Case('host = "standalone"'),
    "host by its table": Case("[host.standalone]\n"),
    "host of a flag": Case(flags=("--host", "standalone")),
    "host of a variable": Case(variables={"TASKRUNNER_HOST": "standalone"}),
    "the table of a platform": Case("[process]\n"),
    "the user of processes": Case('[process]\nuser = "root"\n'),
    "a secret of .env": Case('secrets = {a = {env = "A_TOKEN"}}', prepare=write(".env", "A_TOKEN=sesame\n")),
    "a secret of a file": Case('secrets = {a = {file = "FOLDER/secret"}}', prepare=write("secret", "sesame")),
    "a secret as a text": Case('secrets = {a = "sesame"}'),
    "a variable that is not ours": Case(variables={"TASKRUNNER_TASK_ID": "x"}),
    "a file of a flag": Case(flags=("--config", "other.toml"), prepare=write("other.toml", "capacity = 2")),
    "an empty .env": Case(prepare=write(".env", "\n# nothing\n")),
}

WRONG = {
    "an unknown key": Case("capcity = 1", "taskrunner.toml: capcity: is not known here (did you mean capacity?)"),
    "a number too small": Case("capacity = 0", "taskrunner.toml: capacity: must be at least 1"),
    "a text for a number": Case('capacity = "2"', "taskrunner.toml: capacity: expected a whole number"),
    "no number": Case("lease = nan", "taskrunner.toml: lease: "),
    "no TOML": Case("capacity = ", "taskrunner.toml: "),
    "a file that is not there": Case(
        variables={"TASKRUNNER_CONFIG": "FOLDER/absent.toml"}, says="FOLDER/absent.toml: cannot be read"
    ),
    "a flag for a file that is not there": Case(flags=("--config", "absent.toml"), says="--config: there is no file"),
    "a malformed .env": Case(prepare=write(".env", "A B\n"), says=".env:1: is not NAME=value"),
    "a .env that is a folder": Case(prepare=lambda folder: (folder / ".env").mkdir(), says=".env: cannot be read"),
    "a variable that is no number": Case(variables={"TASKRUNNER_CAPACITY": "many"}, says="TASKRUNNER_CAPACITY: "),
    "a misspelt variable": Case(variables={"TASKRUNNER_CAPACTY": "1"}, says="TASKRUNNER_CAPACTY: is not known here"),
    "a queue that is no URL": Case(flags=("--queue", "nowhere"), says="--queue: is not of the form it needs"),
    "an unknown scheme": Case('queue = "sqlight:///x"', "taskrunner.toml: queue: there is no queue named sqlight"),
    "a queue without a path": Case(
        variables={"TASKRUNNER_QUEUE": "sqlite:///"}, says="TASKRUNNER_QUEUE: names no file"
    ),
    "a queue with nothing but its scheme": Case(flags=("--queue", "sqlite://"), says="--queue: names no file"),
    "a queue with a relative path": Case('queue = "sqlite://q.db"', "taskrunner.toml: queue: names no file"),
    "a queue with a question": Case(
        '[queue]\nurl = "sqlite:///q?mode=ro"', "taskrunner.toml: queue.url: names no file"
    ),
    "a queue below a file": Case(
        flags=("--queue", "sqlite://FOLDER/file/q.db"),
        prepare=write("file", ""),
        says="--queue: FOLDER/file/q.db cannot be opened",
    ),
    "a queue that is a folder": Case(
        'queue = "sqlite://FOLDER/folder"',
        "taskrunner.toml: queue: FOLDER/folder cannot be opened",
        prepare=lambda folder: (folder / "folder").mkdir(),
    ),
    "a queue that is no database": Case(
        'queue = "sqlite://FOLDER/text"',
        "taskrunner.toml: queue: FOLDER/text is no database",
        prepare=write("text", "a text that is long enough to be no database" * 10),
    ),
    "the default queue is no database": Case(
        says="queue: FOLDER/home/queue.db is no database", prepare=in_home("queue.db", "no database" * 50)
    ),
    "a damaged queue": Case(
        flags=("--queue", "sqlite://FOLDER/damaged.db"),
        prepare=database,
        says="--queue: FOLDER/damaged.db is",
        status=4,
    ),
    "a queue that is a number": Case("queue = 5", "taskrunner.toml: queue: expected a text or a table"),
    "the table of an unknown queue": Case(
        "[queue.sqlit]\n", "taskrunner.toml: queue.sqlit: is not known here (did you"
    ),
    "an unknown option of a queue": Case("[queue.sqlite]\npth = 1", "taskrunner.toml: queue.sqlite.pth: is not known"),
    "an unknown store": Case(
        variables={"TASKRUNNER_STORE": "floder"}, says="TASKRUNNER_STORE: there is no store named"
    ),
    "a store with a relative path": Case('[store.folder]\npath = "kept"', "taskrunner.toml: store.folder.path: "),
    "a misspelt option of the store": Case(
        '[store.folder]\npth = "/x"', "taskrunner.toml: store.folder.pth: is not known here (did you mean path?)"
    ),
    "a store below a file": Case(
        '[store.folder]\npath = "FOLDER/file/kept"',
        "taskrunner.toml: store.folder: path: the folder FOLDER/file/kept cannot be made",
        prepare=write("file", ""),
    ),
    "the default store is a file": Case(
        says="store: path: the folder FOLDER/home/artifacts cannot be made", prepare=in_home("artifacts")
    ),
    "an unknown host": Case(
        flags=("--host", "standalon"), says="--host: there is no host named standalon (did you mean"
    ),
    "a misspelt key of the host": Case(
        "[host]\nnam = 'x'", "taskrunner.toml: host.nam: is not known here (did you mean"
    ),
    "a secret without its variable": Case(
        'secrets = {a = {env = "UNSET"}}', "taskrunner.toml: secrets.a: the variable"
    ),
    "a secret without its file": Case(
        'secrets = {a = {file = "/no/file"}}', "taskrunner.toml: secrets.a: /no/file cannot"
    ),
    "a secret that is a folder": Case('secrets = {a = {file = "FOLDER"}}', "taskrunner.toml: secrets.a: FOLDER "),
    "a secret with two places": Case(
        'secrets = {a = {env = "A", file = "/b"}}', "taskrunner.toml: secrets.a: must be one"
    ),
    "a table that names no secret": Case(
        '[docker.registries."r.example"]\nusername = "u"\npassword = {secret = "absent"}',
        'taskrunner.toml: docker.registries["r.example"].password: there is no secret named absent',
    ),
    "a registry without a login": Case(
        '[docker.registries."r.example"]\n', 'taskrunner.toml: docker.registries."r.example": has no login'
    ),
    "an unknown user": Case(
        '[process]\nuser = "nobody-such"', "taskrunner.toml: process: `user` in [process]: this machine has no user"
    ),
    "Docker on another machine": Case(
        '[docker]\nhost = "tcp://1.2.3.4:2375"', "taskrunner.toml: docker: `host` in [docker]"
    ),
    "Docker elsewhere by a variable": Case(
        "[docker]\n", "taskrunner.toml: docker: DOCKER_HOST is", variables={"DOCKER_HOST": "tcp://1.2.3.4:2375"}
    ),
    "Docker elsewhere by .env": Case(
        "[docker]\n", "taskrunner.toml: docker: DOCKER_HOST is", prepare=write(".env", "DOCKER_HOST=tcp://1.2.3.4:2375")
    ),
    "a key below a table": Case(
        "[retention]\nrun_days = 1\ncapacity = 2",
        "taskrunner.toml: retention.capacity: is not known here (known are cache_bytes, cache_days, run_bytes, "
        "run_days, task_days; if it belongs to no table, write it above the first [table])",
    ),
    "a platform that is not installed": Case("[qemu]\nmemory = 1", "taskrunner.toml: qemu: is not known here"),
    "a misspelt platform": Case("[dokcer]\n", "taskrunner.toml: dokcer: is not known here (did you mean docker?)"),
    "a worker's id that is a path": Case(
        variables={"TASKRUNNER_WORKER_ID": "../x"}, says="TASKRUNNER_WORKER_ID: is not of the form it needs"
    ),
    "a home below a file": Case(
        variables={"TASKRUNNER_HOME": "FOLDER/file/home"},
        prepare=write("file", ""),
        says="FOLDER/file/home: cannot be made",
    ),
    "a home without a place for locks": Case(says="FOLDER/home/workers", prepare=in_home("workers")),
    "several mistakes": Case(
        'queue = "sqlite:///"\n[process]\nuser = "nobody-such"', "taskrunner.toml: process: `user` in [process]: "
    ),
}


def both(cli: CommandLine, case: Case) -> tuple[CommandResult, CommandResult]:
    """What `config check` and `run` say, at the same time, each on a folder of its own."""
    processes = []
    for number, verb in enumerate((["config", "check"], ["run", "--until-empty"])):
        folder = cli.folder / str(number)
        folder.mkdir()
        case.prepare(folder)
        if case.file:
            (folder / "taskrunner.toml").write_text(case.file.replace("FOLDER", str(folder)))
        given = {"TASKRUNNER_HOME": "FOLDER/home", **case.variables}
        env = cli.env | {name: value.replace("FOLDER", str(folder)) for name, value in given.items()}
        command = [TASKRUNNER, *verb, *(flag.replace("FOLDER", str(folder)) for flag in case.flags)]
        processes.append(subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    checked, ran = [(process.communicate(timeout=LIMIT), process.returncode) for process in processes]
    return CommandResult(checked[1], *checked[0]), CommandResult(ran[1], *ran[0])


def complaint(ended: CommandResult, folder: Path) -> str:
    """The message at the end, for any folder."""
    return ended.err.rpartition("taskrunner: ")[2].replace(str(folder), "FOLDER")


@pytest.mark.parametrize("name", RIGHT)
def test_both_accept(cli: CommandLine, name: str) -> None:
    checked, ran = both(cli, RIGHT[name])
    assert (checked.status, ran.status) == (0, 0), (checked, ran)
    assert checked.err == ""


@pytest.mark.parametrize("name", WRONG)
def test_both_refuse(cli: CommandLine, name: str) -> None:
    case = WRONG[name]
    checked, ran = both(cli, case)
    words = complaint(checked, cli.folder / "0")
    assert any(line.strip().startswith(case.says) for line in words.splitlines()), checked
    assert complaint(ran, cli.folder / "1") == words
    assert (checked.status, ran.status) == (case.status, case.status), (checked, ran)


# ---- what may pass is no mistake ------------------------------------------------------------------------

DOWN = '[docker]\nhost = "unix:///nowhere/docker.sock"\n'


def test_a_docker_that_is_down_is_no_mistake(cli: CommandLine) -> None:
    """The worker waits for it; the check says so, and exits with 0."""
    (cli.folder / "taskrunner.toml").write_text(DOWN)
    checked = cli("config", "check")
    assert checked.status == 0
    assert "warning: taskrunner.toml: docker: Docker does not answer at /nowhere/docker.sock" in checked.err
    with cli.start("run") as worker:
        worker.until("taskrunner.toml: docker: Docker does not answer at /nowhere/docker.sock")
        worker.until("takes no runs for now: Docker does not answer")
        worker.signal(signal.SIGTERM)
        assert worker.end() == 0


PLUGIN = """
from taskrunner import MemoryQueue, Unavailable

class Plugin(MemoryQueue):
    @classmethod
    async def open(cls, options, context):
        {body}
"""


@pytest.mark.parametrize(
    ("source", "says", "status"),
    [
        (PLUGIN.format(body="raise Unavailable('the server does not answer')"), "the server does not answer", 4),
        (PLUGIN.format(body="raise ConnectionRefusedError(111, 'refused')"), "cannot be opened now: ", 4),
        (PLUGIN.format(body="return 1 / 0"), "cannot be opened: ZeroDivisionError: division by zero (correct", 2),
        ("import absent_library", "cannot be loaded: ModuleNotFoundError: No module named 'absent_library'", 2),
        (
            "from taskrunner import MemoryQueue as Plugin",
            "other cannot be chosen: its class MemoryQueue has no `open",
            2,
        ),
        ("class Plugin: pass", "is no subclass of Queue", 2),
        (PLUGIN.format(body="...").replace("@classmethod", ""), "is no class method: put @classmethod above it", 2),
    ],
)
def test_both_say_the_same_of_a_plugin_that_does_not_open(
    cli: CommandLine, source: str, says: str, status: int
) -> None:
    (cli.folder / "other.py").write_text(source)
    (cli.folder / "pyproject.toml").write_text(
        '[project]\nname = "a"\nversion = "1"\n[project.entry-points."taskrunner.queues"]\nother = "other:Plugin"\n'
    )
    install_module(cli.folder / "site", cli.folder / "other.py", cli.folder / "pyproject.toml")
    cli.env["PYTHONPATH"] = str(cli.folder / "site")
    checked, ran = both(cli, Case('queue = "other://host"'))
    words = complaint(checked, cli.folder / "0")
    assert words.startswith("taskrunner.toml: queue: ")
    assert says in words
    assert complaint(ran, cli.folder / "1") == words
    assert (checked.status, ran.status) == (status, status)


def test_run_task_submits_nothing_with_a_wrong_configuration(cli: CommandLine) -> None:
    (cli.folder / "taskrunner.toml").write_text('[process]\nuser = "nobody-such"\n')
    ended = cli("run", "--task", cli.task("one", "true"))
    assert ended.status == 2
    assert "taskrunner.toml: process: `user` in [process]: this machine has no user" in ended.err
    assert cli("show", "one").status == 2
