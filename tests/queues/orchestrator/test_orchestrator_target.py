"""The URL of the queue, and where the worker listens."""

from __future__ import annotations

import asyncio

import pytest

from taskrunner.errors import ConfigError, Unavailable
from taskrunner.queues.listening import Address
from taskrunner.queues.orchestrator.target import OrchestratorTarget, local_ip, parse_target


@pytest.mark.parametrize(
    ("url", "orchestrator", "host", "port"),
    [
        ("orchestrator://build.example", ("build.example", 5051), "", 6000),
        ("orchestrator://build.example:5052?port=0", ("build.example", 5052), "", 0),
        ("orchestrator://[::1]:5052/?port=6001&host=::", ("::1", 5052), "::", 6001),
        ("orchestrator:", ("of-env.example", 5059), "", 6000),
        ("orchestrator://?port=7", ("of-env.example", 5059), "", 7),
    ],
)
def test_a_url_names_both_ends(url: str, orchestrator: tuple[str, int], host: str, port: int) -> None:
    target = parse_target(url, {"ORCHESTRATOR_ADDR": "of-env.example:5059"})
    assert target == OrchestratorTarget(Address(*orchestrator), host, port)


def test_the_default_port_is_that_of_orchestrators() -> None:
    assert parse_target("orchestrator:", {"ORCHESTRATOR_ADDR": "of-env.example"}).orchestrator.port == 5051


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("orchestrator:", "set ORCHESTRATOR_ADDR to HOST:5051"),
        ("orchestrator://x:s3cret@host", "host, port and query only"),
        ("orchestrator://host/path", "host, port and query only"),
        ("orchestrator://host:99999", "no host and port"),
        ("orchestrator://[x", "no host and port"),
        ("orchestrator://host?port=x", "`port` in the URL"),
        ("orchestrator://host?port=65536", "`port` in the URL"),
        ("orchestrator://host?port=", "`port` in the URL"),
        ("orchestrator://host?prt=1", "no `prt` in its query"),
    ],
)
def test_a_mistake_is_named_without_the_url(url: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_target(url, {})
    assert words in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_a_mistake_in_the_variable_is_named() -> None:
    with pytest.raises(ConfigError, match="ORCHESTRATOR_ADDR has no host and port"):
        parse_target("orchestrator:", {"ORCHESTRATOR_ADDR": "host:port"})


@pytest.mark.parametrize("address", ["http://build.example:5051", "x:s3cret@build.example", "build.example/path"])
def test_a_variable_that_is_a_url_is_refused(address: str) -> None:
    """Its scheme would be the name of a host."""
    with pytest.raises(ConfigError, match="ORCHESTRATOR_ADDR is no HOST:PORT") as refused:
        parse_target("orchestrator:", {"ORCHESTRATOR_ADDR": address})
    assert "s3cret" not in str(refused.value)


def test_the_own_address_is_the_one_that_the_orchestrator_can_reach() -> None:
    assert asyncio.run(local_ip(Address("127.0.0.1", 5051))) == "127.0.0.1"
    assert asyncio.run(local_ip(Address("localhost", 5051))) == "127.0.0.1"
    with pytest.raises(Unavailable, match=r"has no way to the orchestrator at nobody\.invalid:5051"):
        asyncio.run(local_ip(Address("nobody.invalid", 5051)))


def test_an_unspecified_host_is_no_address_to_register() -> None:
    names = ("", "0.0.0.0", "::", "::1", "name")  # noqa: S104  read only
    hosts = {host: OrchestratorTarget(Address("x", 1), host, 1).listens_everywhere for host in names}
    assert [host for host, everywhere in hosts.items() if everywhere] == ["0.0.0.0", "::"]  # noqa: S104  as above
