"""Where a secret could be seen on a machine while it is used: what a test searches."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import docker


def command_lines() -> str:
    """The command lines of every process of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(path.read_bytes().decode(errors="replace"))
    return "\n".join(lines)


def inspected_containers(home: Path) -> str:
    """What `docker inspect` says of the containers of a home, without their own environment: Docker shows that to
    everybody who may ask it, and who may is root on the machine anyway."""
    with closing(docker.APIClient(version="auto")) as api:
        found = api.containers(all=True, filters={"label": f"taskrunner.home={home}"})
        assert found, "a search that finds no container finds nothing"
        return json.dumps([_without_environment(api.inspect_container(each["Id"])) for each in found])


def inside_images(ids: Iterable[str]) -> bytes:
    """What `docker inspect` and `docker history` say of images, and all of their layers."""
    with closing(docker.APIClient(version="auto")) as api:
        parts = [
            json.dumps([api.inspect_image(image), api.history(image)]).encode() + b"".join(api.get_image(image))
            for image in ids
        ]
    assert parts, "a search that finds no image finds nothing"
    return b"".join(parts)


def files_containing(folder: Path, text: str) -> list[str]:
    wanted = text.encode()
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder)) for path in files if wanted in path.read_bytes())


def _without_environment(container: dict[str, Any]) -> dict[str, Any]:
    return {**container, "Config": {**container["Config"], "Env": []}}
