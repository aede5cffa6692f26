"""The network of a container: that of the machine, or the namespace of a pause container."""

from __future__ import annotations

from pathlib import Path

from taskrunner_docker.container.configuration.mounts import bind
from taskrunner_docker.container.configuration.pieces import Piece

HOST_NETWORK = Piece(host_config={"NetworkMode": "host"})


def joined_network(pause: str, hosts: Path | None) -> Piece:
    """`pause` is the id of the pause container. `hosts` takes the place of its `/etc/hosts`."""
    mounts = {"Mounts": [bind(hosts, "/etc/hosts", read_only=True)]} if hosts else {}
    return Piece(host_config={"NetworkMode": f"container:{pause}", **mounts})
