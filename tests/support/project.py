"""A small project with its own tests, as a repository."""

from __future__ import annotations

import hashlib
from pathlib import Path

from taskrunner.model import Source
from tests.support.githttp import commit, git, make_repository

FILES = {
    "pyproject.toml": '[project]\nname = "slugs"\nversion = "1.2"\n',
    "Makefile": "test: generated.txt\n\tpython3 -m unittest -v 2>&1\n\tsh check.sh\n",
    "slugs/__init__.py": "def slug(text):\n    return '-'.join(text.lower().split())\n",
    "tests/__init__.py": "",
    "tests/test_slug.py": (
        "import unittest\n\nfrom slugs import slug\n\n\nclass TestSlug(unittest.TestCase):\n"
        "    def test_spaces(self):\n        self.assertEqual(slug('A  Title'), 'a-title')\n"
    ),
    "generated.txt": "made by hand\n",
    "check.sh": (
        "set -e\ntest -x run.sh\ntest ! -x check.sh\ntest -L current\ntest \"$(cat current)\" = 'made by hand'\n"
        "./run.sh > report.txt\ngrep -q works report.txt\necho all checks passed\n"
    ),
    "run.sh": "#!/bin/sh\necho it works\n",
    ".gitignore": "__pycache__\nreport.txt\n",
    "Dockerfile": "FROM taskrunner-base\nARG SALT\nCOPY . /src\nWORKDIR /src\nRUN echo $SALT; sh check.sh\n",
}


def make_project(path: Path) -> str:
    """Makes the repository, with a history of two commits. Returns the id of the last one."""
    make_repository(path, {"README": "first\n"})
    for name, text in FILES.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text)
    (path / "run.sh").chmod(0o755)
    (path / "current").symlink_to("generated.txt")
    return commit(path, {})


def make_archive(project: Path, archive: Path) -> Source:
    """A tar.gz of the project's last commit, as a server makes it: all files in one folder. Returns it as a source."""
    git(project, "archive", "--prefix=slugs-1.2/", f"--output={archive}", "HEAD")
    return Source(archive=str(archive), sha256=hashlib.sha256(archive.read_bytes()).hexdigest(), strip=1)
