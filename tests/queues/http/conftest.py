from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.http_server import TOKEN, HttpServer, http_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HttpServer]:
    """With a token. Its tasks are those of all tests of a module."""
    with http_server(tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture(scope="module")
def http(server: HttpServer) -> Iterator[httpx.Client]:
    """A client with the token."""
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as client:
        yield client
