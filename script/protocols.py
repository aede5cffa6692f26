"""Compiles the .proto files of the queues into the descriptor sets that the worker reads: script/protocols.py."""

from __future__ import annotations

import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]


def compile_protocol(folder: Path, target: Path) -> None:
    """Compiles all .proto files of a folder into one file."""
    sources = [str(path.relative_to(folder)) for path in sorted(folder.glob("*.proto"))]
    if protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={target}", *sources]):
        sys.exit(f"{folder} cannot be compiled")


if __name__ == "__main__":
    for source in sorted({path.parent for path in (ROOT / "taskrunner").rglob("*.proto")}):
        compile_protocol(source, source / "protocol.binpb")
