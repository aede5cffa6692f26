"""Which paths a pattern matches."""

from __future__ import annotations

import pytest

from taskrunner.files.glob import GlobPattern


def matched(path: str, *names: str) -> list[str]:
    pattern = GlobPattern.of(path)
    assert pattern is not None
    return [name for name in names if pattern.matches(name)]


@pytest.mark.parametrize(
    ("path", "folder", "parts"),
    [
        ("build/**/*.whl", "build", ("**", "*.whl")),
        ("*.txt", ".", ("*.txt",)),
        ("./a//b/c?", "a/b", ("c?",)),
        ("/abs/x[1]", "/abs", ("x[1]",)),
        ("/*", "/", ("*",)),
        ("a*/b/c", ".", ("a*", "b", "c")),
    ],
)
def test_a_pattern_is_split_before_its_first_wildcard(path: str, folder: str, parts: tuple[str, ...]) -> None:
    assert GlobPattern.of(path) == GlobPattern(folder, parts)


def test_a_plain_path_is_no_pattern() -> None:
    assert GlobPattern.of("build/report.xml") is None


@pytest.mark.parametrize(
    ("path", "yes", "no"),
    [
        ("*.whl", ["a.whl", ".whl", ".a.whl"], ["a/b.whl", "a.whl.txt", "A.WHL"]),
        ("**/*.whl", ["a.whl", "x/a.whl", "x/y/a.whl"], ["a.txt"]),
        ("**", ["a", "a/b", ".a/.b"], []),
        ("a?c[0-9][!x]", ["abc1y"], ["abc1x", "a/c1y", "abcd"]),
        ("x*/**/y/**", ["x1/y/a", "x/p/q/y/b/c"], ["x1/z", "y/a"]),
        ("a**b", [], ["a/b"]),
        ("[", ["["], ["x"]),
        ("?", ["x", "é"], ["xy", ""]),
        ("x[*].(a|b)+$", ["x*.(a|b)+$"], ["xx.a"]),
    ],
)
def test_what_matches(path: str, yes: list[str], no: list[str]) -> None:
    assert matched(path, *yes, *no) == yes


def test_a_hostile_pattern_takes_no_time() -> None:
    assert matched("**/" * 200 + "*a" * 50 + "b", "/".join(["a" * 200] * 200)) == []
