"""Repositories of real files, for the benchmark of the fetch: several releases of a package, one commit each.

`git gc` packs them, so that the packs have the deltas that a server's have.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.support.githttp import commit, git

PACKAGES = {
    "django": ["4.2.16", "5.0.9", "5.1.4", "5.2"],
    "botocore": ["1.34.0", "1.35.0", "1.36.0"],
    "ansible": ["9.13.0", "10.7.0", "11.6.0"],
}
"""6,000, 5,000 and 24,000 objects in the newest commit; 9,000 to 37,000 in all."""


def make_bare(name: str, target: Path) -> None:
    """A bare repository of a package's releases, and one more commit in which one file has changed."""
    work = target.with_suffix(".work")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    git(work, "init", "--quiet", "--initial-branch=main")
    for version in PACKAGES[name]:
        _clear(work)
        with zipfile.ZipFile(_download(name, version, target.parent / "wheels")) as wheel:
            wheel.extractall(work)
        commit(work, {}, f"{name} {version}")
    git(work, "branch", "old")
    changed = next(path for path in sorted(work.rglob("*.py")) if path.stat().st_size > 0)
    commit(work, {str(changed.relative_to(work)): changed.read_bytes() + b"# changed\n"})
    git(work, "clone", "--quiet", "--bare", "--no-local", str(work), str(target))
    git(target, "gc", "--quiet")
    shutil.rmtree(work)


def _clear(work: Path) -> None:
    for path in work.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _download(name: str, version: str, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, "-d", str(folder), f"{name}=={version}"], check=True)
    return next(path for path in folder.iterdir() if path.name.lower().startswith(f"{name}-{version}-"))
