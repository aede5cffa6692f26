"""`.dockerignore` and followed paths. The expectations were compared with what the docker CLI sends."""

from __future__ import annotations

import stat

import pytest

from taskrunner_docker.context.ignore import Ignore
from taskrunner_docker.context.selection import select_entries
from taskrunner_git import FileEntry

FILES = [
    "Dockerfile",
    "README.md",
    "a.txt",
    "b.log",
    "docs/a.txt",
    "docs/guide/a.txt",
    "lib/src/main.py",
    "src/a.txt",
    "src/deep/er/main.py",
    "src/deep/x[1].py",
    "src/main.py",
]


def excluded(*patterns: str) -> set[str]:
    """The files that the patterns exclude."""
    entries = list(tree(*FILES))
    kept = {entry.path for entry in select_entries(entries, patterns) if stat.S_ISREG(entry.mode)}
    return set(FILES) - kept


def tree(*files: str, **links: str) -> list[FileEntry]:
    """Entries in BuildKit's order, with the folders above."""
    folders = {"/".join(file.split("/")[:n]) for file in files for n in range(1, file.count("/") + 1)}
    found = [FileEntry(path, stat.S_IFDIR | 0o755) for path in folders]
    found += [FileEntry(path, stat.S_IFREG | 0o644) for path in files]
    found += [FileEntry(path, stat.S_IFLNK | 0o777, link=target) for path, target in links.items()]
    return sorted(found, key=lambda entry: entry.path.split("/"))


SRC = {"src/a.txt", "src/deep/er/main.py", "src/deep/x[1].py", "src/main.py"}
PYTHON = {"lib/src/main.py", "src/deep/er/main.py", "src/deep/x[1].py", "src/main.py"}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["", "   "], set()),
        (["a.txt"], {"a.txt"}),
        (["./a.txt"], {"a.txt"}),
        (["  a.txt  "], {"a.txt"}),
        (["src/../a.txt"], {"a.txt"}),
        (["*.txt"], {"a.txt"}),
        (["?.txt"], {"a.txt"}),
        (["[ab].*"], {"a.txt", "b.log"}),
        (["[^a].*"], {"b.log"}),
        (["[a-c].log"], {"b.log"}),
        (["*/a.txt"], {"docs/a.txt", "src/a.txt"}),
        (["**/a.txt"], {"a.txt", "docs/a.txt", "docs/guide/a.txt", "src/a.txt"}),
        (["src"], SRC),
        (["src/"], SRC),
        (["src/*"], SRC),
        (["src/**"], SRC),
        (["**/src"], SRC | {"lib/src/main.py"}),
        (["src/**/main.py"], {"src/main.py", "src/deep/er/main.py"}),
        (["**/deep/**"], {"src/deep/er/main.py", "src/deep/x[1].py"}),
        (["**/*.py"], PYTHON),
        (["**.py"], PYTHON),
        (["src/deep/x\\[1\\].py"], {"src/deep/x[1].py"}),
        (["*"], set(FILES)),
        (["**"], set(FILES)),
        (["."], set()),
        (["*", "!src"], set(FILES) - SRC),
        (["*", "!src/deep"], set(FILES) - {"src/deep/er/main.py", "src/deep/x[1].py"}),
        (["*", "!src/deep", "src/deep/er"], set(FILES) - {"src/deep/x[1].py"}),
        (["src", "!src/a.txt"], SRC - {"src/a.txt"}),
        (["!src/a.txt", "src"], SRC),
        (["**/*.py", "!src"], {"lib/src/main.py"}),
        (["src", "!**/main.py"], SRC - {"src/main.py", "src/deep/er/main.py"}),
        (["docs/*", "!docs/guide"], {"docs/a.txt"}),
        (["*.md", "!README*", "README.md"], {"README.md"}),
        (["lib/**/main.py", "!lib/src"], set()),
    ],
)
def test_the_files_that_a_pattern_excludes(patterns: list[str], expected: set[str]) -> None:
    assert excluded(*patterns) == expected


@pytest.mark.parametrize("pattern", ["[", "a[b", "[]a]", "[b-a]", "[a-", "a\\", "!", "a**b**c**d**e"])
def test_a_pattern_that_is_not_well_formed_is_named(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern") as caught:
        Ignore([pattern])
    assert repr(pattern) in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 40 + "b", "a" * 255),
        ("**/a/" * 40 + "**/b", "a/" * 120 + "c"),
        ("**/*a*a*a/" * 20 + "**/b", "aaaaaaaaa/" * 100 + "c"),
        ("x**a**a", "x" + "ab/" * 120 + "b"),
    ],
)
def test_a_hostile_pattern_is_answered_like_any_other(pattern: str, path: str) -> None:
    assert Ignore([pattern])(path) is False


def test_a_folder_is_pruned_unless_an_exception_may_be_inside() -> None:
    assert Ignore(["a"]).prune("a")
    assert Ignore(["a", "!b"]).prune("a")
    assert not Ignore(["a", "!a/b/c"]).prune("a")
    assert not Ignore(["a", "!a/b/**"]).prune("a/b")
    assert not Ignore(["a", "!**/x"]).prune("a")


def test_an_excluded_folder_comes_before_what_is_sent_from_inside_and_only_then() -> None:
    entries = tree("a/b/c", "a/x", "z/y")
    paths = [entry.path for entry in select_entries(entries, ["a", "!a/b/c", "z", "!z/nothing"])]
    assert paths == ["a", "a/b", "a/b/c"]


def test_only_what_is_below_a_followed_path_is_sent() -> None:
    paths = [entry.path for entry in select_entries(tree("a/b/c", "a/x", "ab", "z/y"), follow=["a/b", "/z/"])]
    assert paths == ["a", "a/b", "a/b/c", "z", "z/y"]


def test_a_followed_path_leads_over_links() -> None:
    entries = tree("real/deep/file", "other/x", link="hop", hop="real/deep", loop="loop/x")
    paths = {entry.path for entry in select_entries(entries, follow=["link/file", "loop"])}
    assert paths == {"link", "hop", "real", "real/deep", "real/deep/file", "loop"}


def test_a_link_that_leads_out_stays_inside_of_the_context() -> None:
    entries = tree("etc/passwd", "x", up="../../etc/passwd", root="/x")
    assert {e.path for e in select_entries(entries, follow=["up"])} == {"up", "etc", "etc/passwd"}
    assert {e.path for e in select_entries(entries, follow=["root"])} == {"root", "x"}


def test_a_wildcard_in_a_followed_path_takes_its_folder_and_what_links_there_lead_to() -> None:
    entries = tree("a/one.txt", "b/two.txt", "c/x", **{"a/link.txt": "../b/two.txt"})
    paths = {entry.path for entry in select_entries(entries, follow=["a/*.txt"])}
    assert paths == {"a", "a/one.txt", "a/link.txt", "b", "b/two.txt"}
    assert len(list(select_entries(entries, follow=["*"]))) == len(entries)
