"""Credential helpers: programs `docker-credential-NAME`, which keep passwords for Docker's command line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress

from taskrunner.errors import TaskFailed, Unavailable

HELPER_LIMIT = 30.0
"""Seconds for one answer. A helper that asks a cloud takes a few."""
VARIABLES = ("PATH", "HOME", "USER", "LANG", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""What a helper gets of the worker's environment: enough to find its files and a keyring. The rest may be secret."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = b"credentials not found"
"""How every helper begins its answer for a server that it does not know. Its exit status is 1 then."""


async def ask_helper(name: str, server: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password that a helper has for a server; None when it has none.

    What a helper prints stands in no error: it may be a password. Raises: TaskFailed (`login-failed`), Unavailable.
    """
    program = f"docker-credential-{name}"
    path = shutil.which(program, path=environment.get("PATH", os.defpath)) if _NAME.fullmatch(name) else None
    if path is None:
        raise _failed(program, server, "is not on the PATH of this worker: install it")
    status, output = await _run(path, server, environment)
    if status and output.startswith(_NOT_FOUND):
        return None
    if status:
        raise _failed(program, server, f"ended with {status}: look at `echo {server} | {program} get`")
    try:
        answer = json.loads(output)
        return str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError):
        raise _failed(program, server, "printed something else than a login") from None


async def _run(path: str, server: str, environment: Mapping[str, str]) -> tuple[int, bytes]:
    """Exit status and output. A helper that takes too long is killed, with all that it has started."""
    program = await asyncio.create_subprocess_exec(
        path,
        "get",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={key: environment[key] for key in VARIABLES if key in environment},
        cwd="/",
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(HELPER_LIMIT):
            output, _ = await program.communicate(f"{server}\n".encode())
    except TimeoutError:
        raise Unavailable(f"{path} has not answered within {HELPER_LIMIT:g} seconds") from None
    finally:
        if program.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            await program.wait()
    return program.returncode or 0, output.strip()


def _failed(program: str, server: str, why: str) -> TaskFailed:
    return TaskFailed("login-failed", f"login to {server} failed: {program} of Docker's config.json {why}")
