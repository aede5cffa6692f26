"""What exactly is started: the command, found and checked beforehand, and its environment."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from taskrunner.errors import Complaint, MalformedPayload, TaskFailed
from taskrunner.limits import ENV_HINT, ENV_PATTERN
from taskrunner.model import RunKey
from taskrunner_process.accounts.account import Account
from taskrunner_process.groups.process_group import MARKER
from taskrunner_process.payload import text_problem

INHERITED = ("PATH", "LANG", "LC_ALL", "TZ")
"""All that a run inherits of the worker's environment. The rest may hold credentials (`AWS_*`, tokens) and settings
that change how programs behave (`PYTHONPATH`, `LD_*`, proxies)."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Debian's for root, when the worker has none."""

TEMPORARY = ".tmp"
"""The folder for temporary files, in the run's folder, so that it is removed with it."""

NAME = re.compile(ENV_PATTERN)

INTERPRETER_LINE = 256
"""Bytes of a script's first line that the kernel reads (BINPRM_BUF_SIZE)."""


def environment(
    run: RunKey, worker_id: str, folder: Path, account: Account | None, given: Mapping[str, str]
) -> dict[str, str]:
    """The complete environment of a run; `given` overrides the base. Raises MalformedPayload."""
    check_variables(given)
    base = {name: os.environ[name] for name in INHERITED if name in os.environ}
    base |= {"HOME": str(folder), "TMPDIR": str(folder / TEMPORARY), "SHELL": "/bin/sh"}
    if account:
        base |= {"USER": account.name, "LOGNAME": account.name}
    return {"PATH": DEFAULT_PATH, "LANG": "C.UTF-8"} | base | dict(given) | {MARKER: f"{run}@{worker_id}"}


def check_variables(given: Mapping[str, str]) -> None:
    """Raises MalformedPayload with a complaint for each that cannot be set."""
    if complaints := [c for name, value in given.items() for c in _check_variable(name, value)]:
        raise MalformedPayload(*complaints)


def _check_variable(name: str, value: str) -> list[Complaint]:
    if not NAME.fullmatch(name):
        return [Complaint(f"env[{name!r}]", "no name of an environment variable", ENV_HINT)]
    if problem := text_problem(value):  # never shows the value, which may be a secret
        return [Complaint(f"env.{name}", problem, "encode it, for instance as base64")]
    return []


def find_command(command: Sequence[str], folder: Path, path: str) -> list[str]:
    """The command with its program looked up, as the system would on starting it in that folder.

    Raises: TaskFailed (`command-not-found`, `not-executable`).
    """
    name, *arguments = command
    program = name if "/" in name else shutil.which(name, path=path)
    if program is None:
        raise TaskFailed(
            "command-not-found", f"there is no command {name!r} in {path} (PATH); install it, or give its path"
        )
    file = os.path.join(folder, program)  # noqa: PTH118  making a Path takes longer than the system call
    if not os.path.exists(file):  # noqa: PTH110  as above
        raise TaskFailed("command-not-found", f"there is no file {name!r}, seen from the run's folder")
    if not os.path.isfile(file) or not os.access(file, os.X_OK):  # noqa: PTH113  as above
        raise TaskFailed(
            "not-executable", f"{name!r} cannot be executed; `chmod +x` it, or name the program that runs it"
        )
    _check_interpreter(name, Path(file), folder)
    return [program if program.startswith(("/", ".")) else f"./{program}", *arguments]


def _first_line(file: Path) -> bytes:
    """Empty for what is no script. The run may put a pipe there at any moment, which must not hold up the worker."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # executable and not readable: no script then
        return b""
    try:
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, INTERPRETER_LINE).partition(b"\n")[0] if is_file else b""
    finally:
        os.close(descriptor)


def _check_interpreter(name: str, file: Path, folder: Path) -> None:
    """The system reports a script whose interpreter is missing as "not found", as if the script were."""
    first = _first_line(file)
    if not first.startswith(b"#!"):
        return
    asked = re.match(rb"#![ \t]*([^ \t]+)", first)
    interpreter = os.fsdecode(asked[1]) if asked else ""
    if not (folder / interpreter).exists():
        hint = "; its lines end in CR LF, as on Windows" if interpreter.endswith("\r") else ""
        raise TaskFailed(
            "command-not-found", f"{name!r} asks for the interpreter {interpreter!r}, which does not exist{hint}"
        )
