"""What separates a container from the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from taskrunner_docker.container.configuration.mounts import bind
from taskrunner_docker.container.configuration.pieces import Piece
from taskrunner_docker.isolation import KEPT, ContainerIsolation


def isolation_piece(isolation: ContainerIsolation) -> Piece:
    """All capabilities are dropped and some are given, so that a newer Docker with another default changes nothing."""
    host: dict[str, Any] = {"ReadonlyRootfs": isolation.read_only_root}
    if isolation.privileged:
        host["Privileged"] = True
    else:
        host |= {"CapDrop": ["ALL"], "CapAdd": sorted({*KEPT, *isolation.capabilities})}
    if not (isolation.privileged or isolation.new_privileges):
        host["SecurityOpt"] = ["no-new-privileges"]
    if isolation.devices:
        host["Devices"] = [_device(path) for path in isolation.devices]
    if isolation.gpus:
        host["DeviceRequests"] = [{"Driver": "", "Count": isolation.gpus, "Capabilities": [["gpu"]]}]
    if isolation.host_folders:
        folders = isolation.host_folders
        host["Mounts"] = [bind(Path(each.path), each.target, read_only=each.read_only) for each in folders]
    return Piece(config={"User": isolation.user} if isolation.user else {}, host_config=host)


def _device(path: str) -> dict[str, str]:
    return {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"}
