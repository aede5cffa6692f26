"""Wheels of this project and of what it needs, made from what is installed: no index is asked."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path
from zipfile import ZipFile

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120.0
"""Seconds to build this project."""


def make_wheels(folder: Path, *packages: str) -> None:
    """Fills the folder with this project and with these packages, each with all that it needs."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=LIMIT)
    for found in _needed(packages).values():
        _pack(folder, found)


def _needed(names: tuple[str, ...]) -> dict[str, Distribution]:
    found: dict[str, Distribution] = {}
    rest = list(names)
    while rest:
        one = distribution(rest.pop())
        if one.name not in found:
            found[one.name] = one
            wanted = map(Requirement, one.requires or ())
            rest += [each.name for each in wanted if not each.marker or each.marker.evaluate({"extra": ""})]
    return found


def _pack(folder: Path, found: Distribution) -> None:
    wheel = found.read_text("WHEEL") or ""
    tag = next(line.partition(": ")[2] for line in wheel.splitlines() if line.startswith("Tag: "))
    name = f"{found.name.replace('-', '_')}-{found.version}-{tag}.whl"
    with ZipFile(folder / name, "w") as packed:
        for path in found.files or ():
            if ".." not in path.parts and path.name not in {"INSTALLER", "REQUESTED"} and path.suffix != ".pyc":
                packed.write(str(path.locate()), str(path))
