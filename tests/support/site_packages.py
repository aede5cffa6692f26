"""Packages with plugins in a folder of their own, as `pip install --target` would leave them."""

from __future__ import annotations

import tomllib
from pathlib import Path


def install_module(site: Path, source: Path, project: Path) -> None:
    """Installs one module with the metadata of its pyproject.toml."""
    site.mkdir(exist_ok=True)
    (site / source.name).write_text(source.read_text())
    metadata = tomllib.loads(project.read_text())["project"]
    info = site / f"{source.stem}-{metadata['version']}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {metadata['name']}\nVersion: {metadata['version']}\n"
    (info / "METADATA").write_text(head)
    groups = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in metadata["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(groups))
