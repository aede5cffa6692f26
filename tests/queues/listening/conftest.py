from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from taskrunner.interfaces.plugin import QueueContext
from taskrunner.queues.listening import Listener, ListenOptions, open_listener
from tests.support.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """With a server of this machine and a client."""
    made = Authority(tmp_path_factory.mktemp("authority"))
    made.make()
    for name in ("server", "client"):
        made.certificate(name, "IP:127.0.0.1")
    return made


def tls_options(authority: Authority, **more: str) -> ListenOptions:
    files = {"certificate": authority.folder / "server.pem", "key": authority.folder / "server.key"}
    return ListenOptions(**{name: str(path) for name, path in files.items()} | more)  # type: ignore[arg-type]


def open_at(options: ListenOptions, url: str = "agent://", secrets: dict[str, str] | None = None) -> Listener:
    context = QueueContext("w", Path("/nowhere"), lambda secret: (secrets or {})[secret.name], {}, url=url)
    return asyncio.run(open_listener(url, options, context, 8089))
