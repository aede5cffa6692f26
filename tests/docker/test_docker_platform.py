"""The platform itself: opening, health, and the cost of importing it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from taskrunner.errors import ConfigError, MalformedPayload, Unavailable
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.model import Health, Secret
from taskrunner.schema.decode import decode
from taskrunner_docker import DockerOptions, DockerPlatform
from taskrunner_docker.api import client, watch
from taskrunner_docker.api.daemon_socket import find_socket
from taskrunner_docker.api.docker_errors import unreachable
from taskrunner_docker.options import EcrOptions, RegistryOptions

HEAVY = ("docker", "dulwich", "h2", "boto3", "requests", "urllib3")


def opened(tmp_path: Path, options: DockerOptions) -> None:
    async def main() -> None:
        context = PlatformContext("w1", tmp_path, lambda secret: secret.literal)
        await (await DockerPlatform.open(options, context)).dispose()

    asyncio.run(main())


def test_importing_it_loads_none_of_its_libraries() -> None:
    code = f"""
import sys
from taskrunner_docker import DockerPlatform, DockerPayload
DockerPlatform.payload, DockerPlatform.options
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_without_docker_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"Docker does not answer at .*nothing listens there.*: start it") as caught:
        opened(tmp_path, DockerOptions(host=f"unix://{tmp_path}/docker.sock"))
    assert "\n" not in str(caught.value)


def test_without_permission_it_names_the_group() -> None:
    assert "add this user to the group docker" in str(
        unreachable("/var/run/docker.sock", PermissionError(13, "denied"))
    )


def test_a_docker_on_another_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"`host` in \[docker\]"):
        find_socket("tcp://127.0.0.1:2375")
    monkeypatch.setenv("DOCKER_HOST", "ssh://somewhere")
    with pytest.raises(ConfigError, match="DOCKER_HOST"):
        find_socket("")


def test_the_socket_comes_from_the_options_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///env.sock")
    assert find_socket("") == "/env.sock"
    assert find_socket("unix:///option.sock") == "/option.sock"


@pytest.mark.parametrize(
    ("registries", "complaint"),
    [
        ({"https://a.example": RegistryOptions("u", Secret(literal="p"))}, "no https://"),
        ({"a.example": RegistryOptions()}, "give `username` and `password`"),
        ({"a.example": RegistryOptions("u")}, "give `username` and `password`"),
        ({"a.example": RegistryOptions("u", ecr=EcrOptions("eu-west-1"))}, "both `ecr` and"),
    ],
)
def test_a_registry_that_is_half_configured(registries: dict[str, RegistryOptions], complaint: str) -> None:
    [found] = DockerPlatform.check_options(DockerOptions(registries=registries))
    assert found.path == f'registries."{next(iter(registries))}"'
    assert complaint in str(found)


def test_the_settings_for_images_are_read_as_they_are_written() -> None:
    table = {
        "pull_policy": ["always", "never"],
        "mirrors": {"docker.io": ["m.example:5000/hub"]},
        "image_cache": "50GiB",
        "min_free_disk": 10,
    }
    options = decode(DockerOptions, table)
    assert options.mirrors == {"docker.io": ("m.example:5000/hub",)}
    assert (options.pull_policy, options.image_cache, options.min_free_disk) == (("always", "never"), 50 << 30, 10)
    with pytest.raises(MalformedPayload, match=r"pull_policy\[0\]"):
        decode(DockerOptions, {"pull_policy": ["sometimes"]})


@asynccontextmanager
async def hanging_daemon(socket: Path) -> AsyncIterator[asyncio.Event]:
    """Accepts connections, and answers a ping only while the event is set."""
    answers = asyncio.Event()
    writers = set[asyncio.StreamWriter]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        await reader.readuntil(b"\r\n\r\n")
        await answers.wait()
        writer.write(b"HTTP/1.0 200 OK\r\nApi-Version: 1.41\r\n\r\nOK")
        writer.close()

    async with await asyncio.start_unix_server(handle, str(socket)):
        try:
            yield answers
        finally:
            answers.set()
            for writer in writers:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()


def test_a_daemon_that_hangs_is_unhealthy_until_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PING_TIMEOUT", 1.0)
    monkeypatch.setattr(watch, "INTERVAL", 0.02)

    async def health(of: DockerPlatform, *, fit: bool) -> Health:
        while (found := await of.health()).fit is not fit:  # noqa: ASYNC110  as the worker asks, again and again
            await asyncio.sleep(0)
        return found

    async def main() -> str:
        async with hanging_daemon(tmp_path / "docker.sock") as answers:
            answers.set()
            context = PlatformContext("w1", tmp_path, lambda secret: secret.literal)
            opened = await DockerPlatform.open(DockerOptions(host=f"unix://{tmp_path}/docker.sock"), context)
            answers.clear()
            sick = await health(opened, fit=False)
            answers.set()
            await health(opened, fit=True)
            with pytest.raises(Unavailable):  # what this daemon answers says nothing about what is left
                await opened.dispose()
        return sick.why

    async def bounded() -> str:
        async with asyncio.timeout(60):
            return await main()

    assert "has not answered within 1 seconds" in asyncio.run(bounded())


def test_a_daemon_that_hangs_at_first_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PING_TIMEOUT", 1.0)

    async def main() -> None:
        async with hanging_daemon(tmp_path / "docker.sock"):
            context = PlatformContext("w1", tmp_path, lambda secret: secret.literal)
            await DockerPlatform.open(DockerOptions(host=f"{tmp_path}/docker.sock"), context)

    with pytest.raises(Unavailable, match=r"has not answered within 1 seconds"):
        asyncio.run(main())
