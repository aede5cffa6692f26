"""Runs a part of the tests with the lowest version of each dependency that pyproject.toml permits.

It makes `.venv-lowest`, unless that is up to date. The dependencies of dependencies have their newest versions, as when
a user installs. Arguments are passed to pytest, instead of the tests here: those that lean on other people's code.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv-lowest"
TESTS = [
    *(f"tests/git/test_git_{part}.py" for part in ("authorities", "errors", "limits", "pack", "refs", "transports")),
    "tests/config/test_config.py",
    "tests/machines",
    "tests/schema",
]
TOOLS = ["bcrypt", "cryptography", "hypothesis", "jsonschema"]
"""What these tests need beside the dependencies."""
IMPORT_ALL = """
import importlib, pkgutil
for name in ("taskrunner", "taskrunner_process", "taskrunner_docker", "taskrunner_git", "taskrunner_source",
             "taskrunner_standalone"):
    for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
        module.name.endswith("__main__") or importlib.import_module(module.name)
"""
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?>=(?P<version>[0-9.]+)")


def lowest() -> list[str]:
    """`name==version` of each direct dependency, all extras included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    everything = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    found = {}
    for line in everything:
        if line.startswith(project["name"]):
            continue
        requirement = _REQUIREMENT.match(line)
        if requirement is None:
            sys.exit(f"pyproject.toml: {line!r} has no lowest version: write name>=version")
        found[requirement["name"]] = requirement["version"]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def set_up(versions: list[str]) -> Path:
    python, ready = FOLDER / "bin" / "python", FOLDER / "ready"
    wanted = "\n".join([sys.version, *versions, *TOOLS])
    if not ready.exists() or ready.read_text() != wanted:
        venv.create(FOLDER, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*install, *versions, *TOOLS], check=True)
        subprocess.run([*install, "--no-deps", "--editable", str(ROOT)], check=True)
        ready.write_text(wanted)
    return python


def main() -> int:
    versions = lowest()
    print("lowest versions:", *versions)
    python = set_up(versions)
    subprocess.run([str(python), "-c", IMPORT_ALL], cwd=ROOT, check=True)
    return subprocess.run(
        [str(python), "-m", "pytest", "-q", *(sys.argv[1:] or TESTS)], cwd=ROOT, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
