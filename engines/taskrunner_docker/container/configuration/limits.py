"""How much of the machine a container may use."""

from __future__ import annotations

from typing import Any

from taskrunner.amounts import Amounts
from taskrunner_docker.container.configuration.pieces import Piece
from taskrunner_docker.limits import ContainerLimits

_BILLION = 1_000_000_000


def limits_piece(resources: Amounts, limits: ContainerLimits, default_pids: int) -> Piece:
    """Without a limit, the key is absent: Docker's own default holds. Swap is memory too, so there is none beyond."""
    host: dict[str, Any] = {}
    if pids := resources.pids or default_pids:
        host["PidsLimit"] = pids
    if resources.memory:
        host |= {"Memory": resources.memory, "MemorySwap": resources.memory}
    if resources.cpus:
        host["NanoCpus"] = round(resources.cpus * _BILLION)
    if limits.shm:
        host["ShmSize"] = limits.shm
    if limits.disk:
        host["StorageOpt"] = {"size": str(limits.disk)}
    if limits.tmpfs:
        host["Tmpfs"] = {path: f"size={size},mode=1777,exec" for path, size in limits.tmpfs.items()}
    if limits.ulimits:
        host["Ulimits"] = [{"Name": name, "Soft": most, "Hard": most} for name, most in limits.ulimits.items()]
    return Piece(host_config=host)
