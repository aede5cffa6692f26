"""Amazon's APIs, as far as moto simulates them, in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.ports import free_port

_START_TIMEOUT = 60  # seconds: it loads hundreds of modules
_STOP_TIMEOUT = 10

FAKE_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAFAKE", "AWS_SECRET_ACCESS_KEY": "fake-secret-key"}
"""For the environment of its client; any are accepted."""


@contextmanager
def aws() -> Iterator[str]:
    """Runs a server, and yields its URL."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | FAKE_CREDENTIALS
    )
    up = threading.Event()
    reader = threading.Thread(target=_read, args=(process, up), daemon=True)
    reader.start()
    try:
        if not up.wait(_START_TIMEOUT) or process.poll() is not None:
            raise RuntimeError("moto does not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(_STOP_TIMEOUT)
        reader.join(_STOP_TIMEOUT)
        if process.stderr:
            process.stderr.close()


def _read(process: subprocess.Popen[str], up: threading.Event) -> None:
    """Reads to the end, so that the server never waits for a reader."""
    for line in process.stderr or ():
        if "Running on" in line:
            up.set()
    up.set()
