"""The public names are a list, and each of them exists."""

from __future__ import annotations

import subprocess
import sys

import pytest

import taskrunner


@pytest.mark.parametrize("name", taskrunner.__all__)
def test_every_public_name_exists_and_has_a_docstring(name: str) -> None:
    assert getattr(taskrunner, name).__doc__


def test_all_and_the_table_of_homes_have_the_same_names() -> None:
    assert sorted(taskrunner.__all__) == sorted(name for names in taskrunner._HOMES.values() for name in names)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        taskrunner.nothing_of_the_kind  # noqa: B018  looking is the test


def test_importing_the_package_loads_none_of_its_modules() -> None:
    code = "import sys, taskrunner; print([m for m in sys.modules if m.startswith('taskrunner.') or m == 'attrs'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_module_takes_the_place_of_a_public_name() -> None:
    """`taskrunner.services` is a function, and there is a module `taskrunner.runs.services`."""
    code = """
import importlib, pkgutil, types
import taskrunner
from taskrunner import Worker, services
for module in pkgutil.walk_packages(taskrunner.__path__, "taskrunner."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from taskrunner import services as later
assert services is later and isinstance(later, types.FunctionType), later
print([name for name in taskrunner.__all__ if isinstance(getattr(taskrunner, name), types.ModuleType)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
