"""An SSH agent of the project behind a socket, for OpenSSH's own programs; and a real agent for the project."""

from __future__ import annotations

import socketserver
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskrunner_docker.ssh import Agent, take_requests, with_length

LIMIT = 30  # seconds for one program


@contextmanager
def serving(agent: Agent, path: Path) -> Iterator[Path]:
    """Listens at this path, as a daemon does in a build."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            received = bytearray()
            while data := self.request.recv(1 << 16):
                received += data
                for request in take_requests(received):
                    self.request.sendall(with_length(agent(request)))

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def openssh_agent(path: Path, key: Path) -> Iterator[Path]:
    """OpenSSH's agent with one key, at this path."""
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    try:
        agent.stdout.readline()  # it listens
        assert run("ssh-add", str(key), agent=path).returncode == 0
        yield path
    finally:
        agent.kill()
        agent.wait(LIMIT)
        agent.stdout.close()


def run(*command: str, agent: Path | str = "") -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "SSH_AUTH_SOCK": str(agent)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False)


def make_key(path: Path, *options: str) -> Path:
    """Makes a key pair by ssh-keygen, of Ed25519 unless told otherwise; the public half is at `path` with `.pub`."""
    made = run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path), *options)
    assert made.returncode == 0, made.stderr
    return path
