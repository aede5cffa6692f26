"""A registry with TLS of a private authority, and a daemon of the test's own: the daemon checks the certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest

from script.base_image import base_layer, static_busybox
from taskrunner.errors import TaskFailed
from taskrunner.model import Secret
from taskrunner_docker.options import RegistryOptions
from tests.support.file_server import make_certificate
from tests.support.own_docker import ADDRESS, OwnDocker, own_docker
from tests.support.registry import Registry, registry
from tests.support.transfer_bench import PASSWORD, TransferBench


@pytest.fixture
def daemon() -> Iterator[OwnDocker]:
    with own_docker() as running:
        yield running


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return make_certificate(tmp_path / "registry.pem", f"IP:{ADDRESS}")


@pytest.fixture
def private(daemon: OwnDocker, tmp_path: Path, certificate: Path) -> Iterator[Registry]:
    with registry(
        tmp_path / "registry",
        {"ci": PASSWORD},
        5443,
        address=ADDRESS,
        certificate=certificate,
        starter=daemon.in_network,
    ) as running:
        yield running


def test_its_certificate_in_dockers_folder_is_all_that_is_needed(
    daemon: OwnDocker, private: Registry, certificate: Path
) -> None:
    name = f"{private.host}/team/app:1"
    with closing(docker.APIClient(daemon.host, version="auto")) as api:
        api.import_image_from_data(base_layer(static_busybox()), repository=name.rpartition(":")[0], tag="1")
    bench = TransferBench({private.host: RegistryOptions("ci", Secret(literal=PASSWORD))}, daemon.host)
    with pytest.raises(TaskFailed) as caught:
        bench.run(lambda transfers: transfers.push(name))
    where = f"/etc/docker/certs.d/{private.host}/ca.crt"
    assert f"put the authority's certificate, as PEM, into {where} on the machine of Docker" in str(caught.value)

    folder = daemon.certificates / private.host
    folder.mkdir()
    _, _, rest = certificate.read_text().partition("-----BEGIN CERTIFICATE-----")
    (folder / "ca.crt").write_text(f"-----BEGIN CERTIFICATE-----{rest.partition('-----BEGIN')[0]}")
    assert bench.run(lambda transfers: transfers.push(name)) in private.digests()
