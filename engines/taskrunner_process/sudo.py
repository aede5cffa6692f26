"""Sudo: how a worker that is not root acts as another account, by one narrow rule of sudoers.

The rule allows one command, with none of a task's arguments: a shell with an empty environment, which reads a script
from its standard input. So neither the command of a task nor a variable is ever in the arguments of sudo, and killing,
copying and removing need no rule of their own. `sudo` replaces itself by that shell, and the shell by the command: the
process that the worker has started is the command in the end.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import attrs

from taskrunner.errors import TaskFailedInternally

SHELL = ("/usr/bin/env", "-i", "/bin/sh")
"""What the rule allows."""

RULE = """\
Defaults:{worker} closefrom_override, !use_pty, !pam_session, !pam_setcred
{worker} ALL = ({user} : {group}) NOPASSWD: /usr/bin/env -i /bin/sh
"""
"""With these defaults sudo hands over one more descriptor, and replaces itself by the command instead of waiting for
it."""

INPUT = 3
"""The descriptor that becomes the standard input of a command: the script has its place until then."""

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Of the scripts of the worker's own. A task's command has the PATH of its environment."""

REDIRECT = f'exec {INPUT}<&0 <"$1"; shift;'
"""For the shell in front of sudo: moves the standard input away, and opens the script in its place."""


@attrs.frozen
class Sudo:
    """Acts as one account."""

    program: str
    user: str
    group: str

    @property
    def command(self) -> tuple[str, ...]:
        """Reads a script from its standard input. The descriptor `INPUT` stays open."""
        options = ("-n", "-C", str(INPUT + 1), "-u", self.user, "-g", self.group)
        return (self.program, *options, "--", *SHELL)

    def run(self, script: str, limit: float, *arguments: str | Path) -> str:
        """Runs a script as the account, with its arguments as `$1` and so on: what it prints. Blocks.

        Raises: TaskFailedInternally (sudo refuses, the script fails or takes longer than `limit` seconds).
        """
        words = " ".join(shlex.quote(os.fspath(argument)) for argument in arguments)
        text = f"PATH={SEARCH_PATH}; export PATH; umask 0022; set -- {words}\n{script}\n"
        return self._outcome(text, limit)[1].decode(errors="surrogateescape")

    def replaces_itself(self, limit: float) -> bool:
        """Whether the process that is started becomes the command.

        Raises: TaskFailedInternally (sudo refuses, or says something that each task would have in its log).
        """
        pid, printed, said = self._outcome("echo $$\n", limit)
        if said:
            raise TaskFailedInternally(said)
        return int(printed) == pid

    def _outcome(self, script: str, limit: float) -> tuple[int, bytes, str]:
        """The id of the process, what it has printed, and its standard error. Raises OSError, TaskFailedInternally."""
        with script_file(script) as file:
            process = subprocess.Popen(
                self.command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/", env={}
            )
        try:
            printed, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:  # it is another user's: only its own account could end it
            raise TaskFailedInternally(f"what runs as {self.user} by sudo has not ended within {limit:g} s") from None
        said = errors.decode(errors="replace").strip()
        if process.returncode:
            raise TaskFailedInternally(f"as {self.user}, by sudo: {said or f'exit status {process.returncode}'}")
        return process.pid, printed, said


def start_script(command: Sequence[str], env: Mapping[str, str], umask: int) -> str:
    """Becomes a command with exactly this environment. Names are checked: see `check_variables`."""
    lines = [f"umask {umask:04o}", "unset PWD OLDPWD SHLVL"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in env.items()]
    lines.append(f"exec {shlex.join(command)} <&{INPUT} {INPUT}<&-")
    return "\n".join(lines) + "\n"


def script_file(text: str) -> IO[bytes]:
    """A file without a name, whose beginning is read next. Raises OSError."""
    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    file.write(text.encode(errors="surrogateescape"))
    file.flush()
    file.seek(0)
    return file


def find_sudo() -> str:
    """The program's path; empty when there is none."""
    return shutil.which("sudo", path=SEARCH_PATH) or ""
