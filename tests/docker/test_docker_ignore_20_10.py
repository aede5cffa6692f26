"""`.dockerignore` by the rules of Docker 20.10. The expectations are what its own CLI sent, with BuildKit: 150 sets of
patterns at random were compared, and these are the ones that later versions read otherwise."""

from __future__ import annotations

import asyncio

import docker
import pytest

from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.watch import DaemonWatch
from taskrunner_docker.context.ignore import Ignore
from taskrunner_docker.context.ignore_20_10 import Ignore20
from taskrunner_docker.context.selection import ignore_rules, select_entries
from tests.docker.test_docker_ignore import tree

FILES = [
    "README.md",
    "a.txt",
    "b.log",
    "docs/a.txt",
    "docs/guide/a.txt",
    "lib/src/main.py",
    "lib/src/deep/b.log",
    "src/a.txt",
    "src/deep/er/main.py",
    "src/deep/x[1].py",
    "src/main.py",
    "x/y/z/a.txt",
]


NOT_SENT = {
    "lib/** !d*/guide !*/*/*": ("lib/src lib/src/deep lib/src/deep/b.log lib/src/main.py"),
    "** ./b.log !*/*": (
        "README.md a.txt b.log docs docs/a.txt docs/guide docs/guide/a.txt lib lib/src lib/src/deep "
        "lib/src/deep/b.log lib/src/main.py src src/a.txt src/deep src/deep/er src/deep/er/main.py "
        "src/deep/x[1].py src/main.py x x/y x/y/z x/y/z/a.txt"
    ),
    "README* docs !src/deep/* **/deep": (
        "README.md docs docs/a.txt docs/guide docs/guide/a.txt lib/src/deep lib/src/deep/b.log "
        "src/deep/er src/deep/er/main.py src/deep/x[1].py"
    ),
    "**/src !lib/src !*/a.txt": ("src src/a.txt src/deep src/deep/er src/deep/er/main.py src/deep/x[1].py src/main.py"),
    "*/* !lib/src src/d*/er !*/*/*": (
        "docs/a.txt docs/guide docs/guide/a.txt src/a.txt src/deep src/deep/er src/deep/er/main.py "
        "src/deep/x[1].py src/main.py x/y x/y/z x/y/z/a.txt"
    ),
    "src/* ** !src s*": (
        "README.md a.txt b.log docs docs/a.txt docs/guide docs/guide/a.txt lib lib/src lib/src/deep "
        "lib/src/deep/b.log lib/src/main.py src/a.txt src/deep src/deep/er src/deep/er/main.py "
        "src/deep/x[1].py src/main.py x x/y x/y/z x/y/z/a.txt"
    ),
    "docs **/a.txt !**/src": ("a.txt docs docs/a.txt docs/guide docs/guide/a.txt src/a.txt x/y/z/a.txt"),
    "lib docs/* !**/*.py": (
        "docs/a.txt docs/guide docs/guide/a.txt lib lib/src lib/src/deep lib/src/deep/b.log lib/src/main.py"
    ),
    "docs/guide src !src/d*/er s*": (
        "docs/guide docs/guide/a.txt src/a.txt src/deep src/deep/er src/deep/er/main.py src/deep/x[1].py src/main.py"
    ),
    "x !**/a.txt **/deep": (
        "lib/src/deep lib/src/deep/b.log src/deep src/deep/er src/deep/er/main.py src/deep/x[1].py "
        "x x/y x/y/z x/y/z/a.txt"
    ),
    "** !*/src ./b.log": (
        "README.md a.txt b.log docs docs/a.txt docs/guide docs/guide/a.txt lib lib/src lib/src/deep "
        "lib/src/deep/b.log lib/src/main.py src src/a.txt src/deep src/deep/er src/deep/er/main.py "
        "src/deep/x[1].py src/main.py x x/y x/y/z x/y/z/a.txt"
    ),
    "src/deep/* !**/main.py": ("src/deep/er src/deep/er/main.py src/deep/x[1].py"),
    "lib !*/*/* src/deep": (
        "lib lib/src lib/src/deep lib/src/deep/b.log lib/src/main.py src/deep src/deep/er "
        "src/deep/er/main.py src/deep/x[1].py"
    ),
    "** docs/* !**/*.txt": (
        "README.md b.log docs docs/a.txt docs/guide docs/guide/a.txt lib lib/src lib/src/deep "
        "lib/src/deep/b.log lib/src/main.py src src/a.txt src/deep src/deep/er src/deep/er/main.py "
        "src/deep/x[1].py src/main.py x x/y x/y/z x/y/z/a.txt"
    ),
    "src/* !**/src": ("src/a.txt src/deep src/deep/er src/deep/er/main.py src/deep/x[1].py src/main.py"),
    "*/*/* !lib/src lib/*": (
        "docs/guide/a.txt lib/src/deep lib/src/deep/b.log lib/src/main.py src/deep/er "
        "src/deep/er/main.py src/deep/x[1].py x/y/z x/y/z/a.txt"
    ),
    "**/src lib !src/de* !*.py": ("lib lib/src lib/src/deep lib/src/deep/b.log lib/src/main.py"),
    "s* !*/a.txt !lib */deep": ("src src/a.txt src/deep src/deep/er src/deep/er/main.py src/deep/x[1].py src/main.py"),
    "**/deep !src/d*/er src !x/y": (
        "lib/src/deep lib/src/deep/b.log src/a.txt src/deep src/deep/er src/deep/er/main.py "
        "src/deep/x[1].py src/main.py"
    ),
}
"""By the patterns, which have no blanks in them, as the paths."""


@pytest.mark.parametrize("patterns", NOT_SENT)
def test_the_entries_that_are_sent(patterns: str) -> None:
    entries = tree(*FILES)
    expected = [entry for entry in entries if entry.path not in NOT_SENT[patterns].split()]
    assert list(select_entries(entries, patterns.split(), rules=Ignore20)) == expected
    assert list(select_entries(entries, patterns.split())) != expected


def test_a_suffix_behind_two_stars_is_a_name() -> None:
    assert Ignore(["**.py"])("src/main.py")
    assert not Ignore20(["**.py"])("src/main.py")
    assert Ignore20(["**.py"])("src/.py")


@pytest.mark.parametrize(
    ("version", "rules"), [("1.24", Ignore20), ("1.41", Ignore20), ("1.42", Ignore), ("1.50", Ignore), ("2.0", Ignore)]
)
def test_the_rules_are_those_of_the_daemon(version: str, rules: object) -> None:
    async def never() -> None:
        await asyncio.Event().wait()

    async def chosen() -> object:
        watch = DaemonWatch(never)
        try:
            return ignore_rules(DockerClient("", version, docker.APIClient(version=version), watch))
        finally:
            watch.end()

    assert asyncio.run(chosen()) is rules
