"""The repositories that are built: 20,000 files like those of a program."""

from __future__ import annotations

import random
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs

from tests.support.githttp import GIT_ENV, export_bare, git

FILES = 20_000
VENDORED = 19_000
LINES = 70
"""Lines of a file: about 3 kB, and 60 MB in all."""
WHOLE = """\
FROM taskrunner-base
COPY . /bench-src
RUN cat /bench-src/src/*/* | sha256sum > /bench-id
"""
LAYERS = """\
FROM taskrunner-base
COPY vendor /bench-src/vendor
RUN ls -R /bench-src/vendor | sha256sum > /bench-vendor-id
COPY src /bench-src/src
RUN cat /bench-src/src/*/* | sha256sum > /bench-id
"""
STAGES = """\
FROM taskrunner-base AS build
COPY . /bench-src
RUN cat /bench-src/src/*/* | sha256sum > /bench-id
FROM taskrunner-base
COPY --from=build /bench-id /bench-id
"""
SHAPES = {"whole": WHOLE, "layers": LAYERS, "stages": STAGES}
"""Dockerfiles: one that copies everything at once; one that copies 19,000 vendored files in a layer of their own; and
one whose image has only the result of a build."""
IGNORED = ".git\n"
"""The `.dockerignore`: without it, the script's image would contain the history, and ours would not."""


@attrs.frozen
class Source:
    """One repository below a server's folder, with unique contents, so that nothing of it is cached."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name

    def change(self, *paths: str, text: str) -> None:
        """A commit in which these files have another text."""
        files = "".join(f"M 644 inline {path}\ndata {len(text)}\n{text}\n" for path in paths)
        commit = f"commit refs/heads/main\n{_author()}data 8\na change\nfrom refs/heads/main^0\n{files}\n"
        _import(self.folder, iter([commit]))


def make(folder: Path, shape: str) -> Source:
    """A repository with one commit of all files, packed as a server keeps it."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet", "--bare", "--initial-branch=main")
    _import(folder, _commit(shape))
    git(folder, "gc", "--quiet")
    return Source(folder)


def fresh(source: Source, name: str) -> Source:
    """A copy that differs from all others, earlier ones included: in one vendored file and in one of its own."""
    copy = Source(export_bare(source.folder, source.folder.parent / f"{name}.git"))
    copy.change(_vendored(0), _own(0), text=f"{secrets.token_hex()} is {name}.\n")
    return copy


def change_one(source: Source) -> None:
    """A new commit with one changed file."""
    source.change(_own(1), text=f"One file of {source.name} has changed: {secrets.token_hex()}.\n")


def _commit(shape: str) -> Iterator[str]:
    yield f"commit refs/heads/main\n{_author()}data 6\nfiles\n\n"
    yield _file("Dockerfile", SHAPES[shape])
    yield _file(".dockerignore", IGNORED)
    letters = random.Random(1)  # noqa: S311  the same files each time
    words = ["".join(letters.choices("abcdefghijklmnopqrstuvwxyz_", k=letters.randint(2, 11))) for _ in range(5000)]
    for number in range(VENDORED):
        yield _file(_vendored(number), _text(letters, words))
    for number in range(FILES - VENDORED - 2):
        yield _file(_own(number), _text(letters, words))


def _vendored(number: int) -> str:
    return f"vendor/package{number // 1000:02}/part{number // 100 % 10}/file{number % 100:02}.c"


def _own(number: int) -> str:
    return f"src/module{number // 100}/file{number % 100:02}.c"


def _text(letters: random.Random, words: list[str]) -> str:
    return "".join(" ".join(letters.choices(words, k=6)) + "\n" for _ in range(LINES))


def _file(path: str, text: str) -> str:
    return f"M 644 inline {path}\ndata {len(text)}\n{text}\n"


def _author() -> str:
    return "committer A. Author <author@example.org> 1704067200 +0000\n"


def _import(repository: Path, commands: Iterator[str]) -> None:
    with subprocess.Popen(
        ["git", "fast-import", "--quiet"], cwd=repository, env=GIT_ENV, stdin=subprocess.PIPE, text=True
    ) as importing:
        assert importing.stdin is not None
        importing.stdin.writelines(commands)
        importing.stdin.close()
    if importing.returncode:
        raise RuntimeError("git fast-import failed")
