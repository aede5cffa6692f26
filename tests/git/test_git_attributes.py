"""`.gitattributes`, compared with what the real `git clone` checks out."""

from __future__ import annotations

import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from taskrunner.errors import TaskFailed
from taskrunner_git.attributes import lookup
from taskrunner_git.attributes.wildmatch import matcher
from tests.git.conftest import Fetcher, contents
from tests.support.githttp import GIT_ENV, GitServer, git, make_repository

TEXT = "one\ntwo $Id$ $Id: old $ $Id: a b $ $Idx$ $Id: \nthree äö\n"
FILES: Mapping[str, str | bytes] = {
    "a.txt": TEXT,
    "b.bin": b"\0\1\n\2\n",
    "mixed": b"one\r\ntwo\n",
    "control": b"\1\2\3\n\x1a",
    "empty": "",
    "sub/a.txt": TEXT,
    "sub/deep/a.txt": TEXT,
    "sub/deep/x y.txt": TEXT,
    "sub/[b]": TEXT,
    "subtle/é.txt": TEXT,
}
CASES: dict[str, Mapping[str, str | bytes]] = {
    "eol": {".gitattributes": "*.txt eol=crlf\n"},
    "eol-of-all": {".gitattributes": "* eol=crlf\n"},
    "auto": {".gitattributes": "* text=auto eol=crlf\n"},
    "auto-alone": {".gitattributes": "* text=auto\n"},
    "eol-lf": {".gitattributes": "* text eol=lf\n"},
    "not-text": {".gitattributes": "* -text eol=crlf\n"},
    "text-input": {".gitattributes": "* text=input eol=crlf\n"},
    "strange-values": {".gitattributes": "* text=x eol=crlf\nmixed eol=x\n*.bin eol\n"},
    "crlf": {".gitattributes": "* crlf eol=crlf\n*.bin -crlf\nmixed crlf=input\n"},
    "ident": {".gitattributes": "* ident\n"},
    "ident-and-eol": {".gitattributes": "* ident text eol=crlf\n"},
    "no-ident": {".gitattributes": "* ident\nsub/** -ident\n*.bin !ident\n"},
    "utf-16": {".gitattributes": "* working-tree-encoding=UTF-16\n"},
    "utf-16le": {".gitattributes": "*.txt working-tree-encoding=UTF-16LE eol=crlf ident\n"},
    "utf-16le-bom": {".gitattributes": "*.txt working-tree-encoding=UTF-16LE-BOM\n"},
    "utf-16be-bom": {".gitattributes": "*.txt working-tree-encoding=utf-16be-bom\n"},
    "utf-32": {".gitattributes": "*.txt working-tree-encoding=UTF-32\n"},
    "utf-8": {".gitattributes": "* working-tree-encoding=UTF-8\n"},
    "no-encoding": {".gitattributes": "* working-tree-encoding= text eol=crlf\n"},
    "latin-1": {".gitattributes": "* working-tree-encoding=ISO-8859-1\n"},
    "cp1252": {".gitattributes": "* working-tree-encoding=CP1252\n"},
    "what-an-encoding-lacks": {".gitattributes": "* working-tree-encoding=ASCII\n"},
    "unknown-filter": {".gitattributes": "* filter=secret text eol=crlf\n"},
    "export": {".gitattributes": "* export-subst export-ignore\n"},
    "binary-macro": {".gitattributes": "* text eol=crlf\nsub/** binary\n"},
    "own-macro": {".gitattributes": "[attr]dos text eol=crlf\n[attr]binary ident\n*.txt dos\nsub/* binary\n"},
    "macro-unset": {".gitattributes": "[attr]dos text eol=crlf\n* -dos\n*.txt !dos\n"},
    "macro-in-a-folder": {".gitattributes": "sub/** dos\n", "sub/.gitattributes": "[attr]dos text eol=crlf\n* dos\n"},
    "deeper-wins": {
        ".gitattributes": "* eol=crlf\n",
        "sub/.gitattributes": "* eol=lf\n",
        "sub/deep/.gitattributes": "a.txt eol=crlf\n",
    },
    "anchored": {".gitattributes": "/a.txt eol=crlf\nsub/ eol=crlf\n", "sub/.gitattributes": "/deep/a.txt ident\n"},
    "a-later-line-wins": {".gitattributes": "*.txt eol=crlf\na.txt -text\n"},
    "in-one-line": {".gitattributes": "*.txt text -text text eol=lf eol=crlf\n"},
    "quoted": {".gitattributes": '"sub/deep/x y.txt" eol=crlf\n"subtle/\\303\\251.txt" eol=crlf\n"a.txt eol=crlf\n'},
    "not-understood": {".gitattributes": "!a.txt eol=crlf\n* eol=crlf na/me\n* ident builtin_x\n#* eol=crlf\n"},
    "blanks": {".gitattributes": b" \t*.txt\t eol=crlf\r\n\r\n*.bin eol=crlf \r\n"},
    "bom": {".gitattributes": b"\xef\xbb\xbfa.txt eol=crlf\nb.bin eol=crlf\n"},
    "zero": {".gitattributes": b"a.txt eol=crlf\n\0b.bin eol=crlf\n"},
    "long-line": {".gitattributes": f"a.txt eol=crlf {'x' * 2048}\nb.bin eol=crlf {'x' * 2000}\n"},
    "no-newline": {".gitattributes": "* eol=crlf"},
    "globstar": {".gitattributes": "**/deep/*.txt eol=crlf\nsub/**/a.txt ident\nsu**/a.txt text\n"},
    "odd-globstars": {
        ".gitattributes": "su**e/* eol=crlf\nsub**/deep/a.txt eol=crlf\nsub** ident\nsubtl**/é.txt ident\n"
    },
    "sets": {
        ".gitattributes": "sub/\\[b\\] eol=crlf\n[a-b].[[:alpha:]]* ident\n[!a].txt eol=crlf\nsub[/]a.txt ident\n"
    },
}


def checked_out(folder: Path, url: str) -> dict[str, bytes]:
    """The regular files of a real clone, by their path."""
    environment = {"LC_ALL": "C.UTF-8"}
    git(folder, "clone", "--quiet", "--depth=1", url, "clone", **environment)
    clone = folder / "clone"
    found = (path for path in clone.rglob("*") if ".git" not in path.parts and path.is_file() and not path.is_symlink())
    return {str(path.relative_to(clone)): path.read_bytes() for path in found}


@pytest.mark.parametrize("case", CASES)
def test_the_files_are_those_of_git_clone(case: str, root: Path, fetcher: Fetcher, tmp_path: Path) -> None:
    repository(root / "web", CASES[case])
    compare(fetcher, root, tmp_path)


def repository(path: Path, attributes: Mapping[str, str | bytes]) -> None:
    """Commits the files as they are, and then the attributes."""
    make_repository(path, FILES)
    add_attributes(path, attributes)


def add_attributes(path: Path, attributes: Mapping[str, str | bytes]) -> None:
    """Commits them alone, with an index of their own: git must convert no file on its way in."""
    index = {"GIT_INDEX_FILE": str(path / ".git/attributes-index")}
    git(path, "read-tree", "main", **index)
    for name, text in attributes.items():
        data = text.encode() if isinstance(text, str) else text
        make = ["git", "hash-object", "-w", "--stdin", "--no-filters"]
        blob = subprocess.run(make, cwd=path, env=GIT_ENV, input=data, check=True, capture_output=True).stdout
        git(path, "update-index", "--add", "--cacheinfo", f"100644,{blob.decode().strip()},{name}", **index)
    tree = git(path, "write-tree", **index).decode().strip()
    sha = git(path, "commit-tree", "-p", "main", "-m", "attributes", tree).decode().strip()
    git(path, "update-ref", "refs/heads/main", sha)


def compare(fetcher: Fetcher, root: Path, folder: Path) -> None:
    url = f"file://{root / 'web'}"
    expected = checked_out(folder, url)
    with fetcher.commit(url) as source:
        assert contents(source) == expected
        sizes = {entry.path: entry.size for entry in source.entries() if stat.S_ISREG(entry.mode)}
        assert sizes == {path: len(data) for path, data in expected.items()}
        below = {path.removeprefix("sub/"): data for path, data in expected.items() if path.startswith("sub/")}
        assert contents(source.below("sub")) == below


PATTERNS = some.one_of(
    some.text("ab*?/.[]!^-\\x", min_size=1, max_size=8),
    some.lists(
        some.sampled_from(["a", "b", "*", "**", "sub", "deep", "a.txt", "*.txt", "s*", "[a-s]*", "?.*"]),
        min_size=1,
        max_size=4,
    ).map("/".join),
)
STATES = some.lists(
    some.sampled_from(
        [
            "text",
            "-text",
            "!text",
            "text=auto",
            "eol=crlf",
            "eol=lf",
            "!eol",
            "crlf",
            "-crlf",
            "ident",
            "-ident",
            "binary",
            "-binary",
            "dos",
            "!dos",
        ]
    ),
    min_size=1,
    max_size=3,
)
LINES = some.lists(some.tuples(PATTERNS, STATES).map(lambda line: " ".join([line[0], *line[1]])), max_size=5)


@given(root_lines=LINES, sub_lines=LINES, macro=STATES)
@settings(deadline=None, max_examples=40)
def test_attributes_at_random_are_those_of_git_clone(
    root_lines: list[str], sub_lines: list[str], macro: list[str]
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        lines = ["[attr]dos " + " ".join(macro), *root_lines]
        files = {".gitattributes": "\n".join(lines), "sub/.gitattributes": "\n".join(sub_lines)}
        repository(folder / "web", files)
        compare(Fetcher(folder / "mirror"), folder, folder)


def test_attributes_above_the_context_hold_in_it_and_those_above_a_submodule_do_not(
    root: Path, server: GitServer, fetcher: Fetcher
) -> None:
    make_repository(root / "lib", {"d/l.txt": "1\n"})
    make_repository(root / "web", {".gitattributes": "*.txt eol=crlf\n", "a/b/c.txt": "1\n"})
    git(root / "web", "submodule", "add", "-q", server.url("lib"), "a/lib")
    git(root / "web", "commit", "-q", "-m", "x")
    with fetcher.commit(server.url("web")) as source:
        assert contents(source.below("a/b")) == {"c.txt": b"1\r\n"}
        assert contents(source.below("a")) == {"b/c.txt": b"1\r\n", "lib/d/l.txt": b"1\n"}
        assert contents(source.below("a/lib/d")) == {"l.txt": b"1\n"}


@pytest.mark.parametrize(
    "value",
    [
        "working-tree-encoding",
        "-working-tree-encoding",
        "working-tree-encoding=shift_jis",
        "working-tree-encoding=no-such",
    ],
)
def test_an_encoding_that_is_not_supported_is_refused_with_the_path(
    value: str, root: Path, server: GitServer, fetcher: Fetcher
) -> None:
    make_repository(root / "web", {"d/a.txt": "x"})
    add_attributes(root / "web", {".gitattributes": f"*.txt {value}\n"})
    message = r"d/a\.txt: working-tree-encoding="
    with fetcher.commit(server.url("web")) as source, pytest.raises(TaskFailed, match=message):
        list(source.entries())


def test_pointers_of_lfs_are_counted_and_named_in_every_folder(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n"
    files = {f"d/{n}.bin": pointer for n in range(7)} | {"d/.gitattributes": "*.bin filter=lfs -text\n"}
    make_repository(root / "web", files | {"d/raw.bin": "no pointer", "other.bin": pointer})
    fetcher.files(server.url("web"))
    assert fetcher.lines[-1] == (
        "clone: 7 files are kept in git LFS, and here as pointers without the contents: "
        "d/0.bin, d/1.bin, d/2.bin, d/3.bin, d/4.bin and 2 more"
    )


def test_a_changed_conversion_of_the_same_size_gives_another_time(
    root: Path, server: GitServer, fetcher: Fetcher
) -> None:
    make_repository(root / "web", {"d/a.txt": "x\n", "d/b": "y\n", ".gitattributes": ""})
    times = []
    for encoding in ("UTF-16LE", "UTF-16BE", "UTF-16BE"):
        add_attributes(root / "web", {".gitattributes": f"*.txt working-tree-encoding={encoding}\n"})
        with fetcher.commit(server.url("web")) as source:
            times.append({entry.path: entry.mtime_ns for entry in source.entries()})
    first, second, third = times
    assert {path for path in first if first[path] != second[path]} == {".gitattributes", "d/a.txt"}
    assert second == third


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*a" * 40 + "b", "a" * 255),
        ("**/a/" * 40 + "**/b", "a/" * 120 + "c"),
        ("**/*a*a*a/" * 20 + "**/b", "aaaaaa/" * 100),
    ],
)
def test_a_hostile_pattern_is_answered_like_any_other(pattern: str, path: str) -> None:
    assert not matcher(pattern.encode())(path.encode())


def test_attributes_of_megabytes_are_refused(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "web", {"d/.gitattributes": "#\n" * 600_000})
    with fetcher.commit(server.url("web")) as source, pytest.raises(TaskFailed, match=r"d/\.gitattributes is larger"):
        list(source.entries())


def test_too_many_lines_for_the_number_of_files_are_refused(
    root: Path, server: GitServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_MAX_WORK", 1000)
    files = {f"d/{n}": "x" for n in range(60)}
    make_repository(root / "web", files | {".gitattributes": "a eol=crlf\n" * 10, "d/.gitattributes": "b ident\n" * 5})
    with fetcher.commit(server.url("web")) as source:
        assert len(list(source.entries())) == 63
        with pytest.raises(TaskFailed, match="too many lines for so many files"):
            list(source.entries())


def test_contents_with_many_names_are_converted_once(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    files = {f"d/{n}": "x\n" * 1000 for n in range(100)}
    make_repository(root / "web", files | {".gitattributes": "* eol=crlf\n"})
    with fetcher.commit(server.url("web")) as source:
        tree = source.below("d")
        converted = []
        convert = tree.converted
        tree.converted = lambda *call: converted.append(call[0]) or convert(*call)  # type: ignore[method-assign,func-returns-value]
        assert {entry.size for entry in tree.entries()} == {3000}
        assert len(converted) == 1


def test_attributes_that_are_a_link_or_a_folder_are_taken_as_by_git_clone(
    root: Path, fetcher: Fetcher, tmp_path: Path
) -> None:
    make_repository(root / "web", {**FILES, "lines": "* eol=crlf\n", "subtle/.gitattributes/x": "* eol=crlf\n"})
    (root / "web/.gitattributes").symlink_to("lines")
    (root / "web/sub/.gitattributes").symlink_to("* eol=crlf")
    git(root / "web", "add", "--all")
    git(root / "web", "commit", "-q", "-m", "links")
    compare(fetcher, root, tmp_path)
    assert b"\r\n" in (tmp_path / "clone/sub/a.txt").read_bytes()
