"""Archives on the worker's machine: those that its configuration allows, by their real paths."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from taskrunner.errors import TaskFailed
from taskrunner.files.allowed_path import open_allowed
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import Source
from taskrunner_source import archive as archives
from tests.support.archives import entry, tar
from tests.support.source_run import SourceRun

TAR = tar(entry("file", b"x"))
NOT_ALLOWED = "is not among the paths that this worker allows ([source] archives in its configuration)"
GONE = "is not there"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    (path / "src.tar").write_bytes(TAR)
    return path


def test_an_allowed_folder_and_an_allowed_file(run: SourceRun, allowed: Path, outside: Path) -> None:
    (allowed / "deep/er").mkdir(parents=True)
    (allowed / "deep/er/src.tar").write_bytes(TAR)
    run.options = SourceOptions((str(allowed), str(outside / "src.tar")))
    for path in (allowed / "deep/er/src.tar", allowed / "deep/../deep/er/./src.tar", outside / "src.tar"):
        assert run.checkout(Source(archive=str(path))) == hashlib.sha256(TAR).hexdigest()


def test_links_are_followed_to_what_is_allowed(run: SourceRun, allowed: Path, tmp_path: Path) -> None:
    """Both the path and the allowed folder may be links: a folder `current` is common."""
    (allowed / "1").mkdir()
    (allowed / "1/src.tar").write_bytes(TAR)
    (allowed / "current").symlink_to("1")
    (tmp_path / "alias").symlink_to(allowed)
    run.options = SourceOptions((str(tmp_path / "alias"),))
    run.checkout(Source(archive=str(allowed / "current/src.tar")))
    run.checkout(Source(archive=str(tmp_path / "alias/current/src.tar")))


REFUSED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "outside": (lambda _: None, "../outside/src.tar", NOT_ALLOWED),
    "a name that begins alike": (lambda top: (top.parent / "allowed-too").mkdir(), "../allowed-too/x", NOT_ALLOWED),
    "a file that does not exist outside": (lambda _: None, "../nowhere", NOT_ALLOWED),
    "a file of the system": (lambda _: None, "/etc/passwd", NOT_ALLOWED),
    "a link that leads out": (lambda top: (top / "x").symlink_to("../outside/src.tar"), "x", NOT_ALLOWED),
    "a folder that leads out": (lambda top: (top / "x").symlink_to("../outside"), "x/src.tar", NOT_ALLOWED),
    "a link to itself": (lambda top: (top / "x").symlink_to("x"), "x", GONE),
    "a process's own descriptors": (lambda top: (top / "x").symlink_to("/proc/self/fd/0"), "x", NOT_ALLOWED),
    "nothing": (lambda _: None, "x", GONE),
    "a file in the place of a folder": (lambda top: (top / "x").touch(), "x/src.tar", GONE),
    "a folder": (lambda top: (top / "x").mkdir(), "x", "is no file"),
    "the folder itself": (lambda _: None, ".", "is no file"),
    "a named pipe": (lambda top: os.mkfifo(top / "x"), "x", "is no file"),
    "a name that is too long": (lambda _: None, "x" * 300, "cannot be read: File name too long"),
    "an empty file": (lambda top: (top / "x").touch(), "x", "unpack: the archive is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.usefixtures("outside")
def test_a_path_that_is_refused(run: SourceRun, allowed: Path, name: str) -> None:
    prepare, path, problem = REFUSED[name]
    prepare(allowed)
    with pytest.raises(TaskFailed) as caught:
        run.checkout(Source(archive=os.path.join(allowed, path)))  # noqa: PTH118  a Path would change it
    assert caught.value.reason == "source-refused"
    assert problem in caught.value.message


def test_none_is_allowed_by_default(run: SourceRun, outside: Path) -> None:
    run.options = SourceOptions()
    with pytest.raises(TaskFailed, match="is not among the paths"):
        run.checkout(Source(archive=str(outside / "src.tar")))


def test_a_wrong_checksum(run: SourceRun, allowed: Path) -> None:
    (allowed / "src.tar").write_bytes(TAR)
    found = hashlib.sha256(TAR).hexdigest()
    with pytest.raises(TaskFailed, match=rf'source: ".*/src\.tar" has the sha256 {found}, and not {"0" * 64}'):
        run.checkout(Source(archive=str(allowed / "src.tar"), sha256="0" * 64))
    assert not list(run.folder.iterdir())


def test_a_link_that_is_exchanged_meanwhile_is_never_followed(allowed: Path, outside: Path) -> None:
    """A program exchanges a folder and a link to the outside all the time; what is opened is inside, or nothing."""
    secret = outside / "secret"
    secret.write_text("secret")
    (allowed / "x").mkdir()
    (allowed / "x/secret").write_text("public")
    (allowed / "y").symlink_to(outside)
    script = (
        "import os\n"
        "print(flush=True)\n"
        "while True:\n"
        "    for a, b in (('x', 'z'), ('y', 'x'), ('x', 'y'), ('z', 'x')):\n"
        "        os.rename(a, b)\n"
    )
    program = subprocess.Popen([sys.executable, "-c", script], cwd=allowed, stdout=subprocess.PIPE)
    assert program.stdout
    try:
        program.stdout.readline()
        outcomes = {attempt(allowed) for _ in range(20_000)}
    finally:
        program.kill()
        program.wait()
        program.stdout.close()
    assert "secret" not in outcomes
    assert {"public", "refused"} <= outcomes


def refused(problem: str) -> TaskFailed:
    return TaskFailed("source-refused", problem)


def attempt(allowed: Path) -> str:
    try:
        with open_allowed(str(allowed / "x/secret"), [str(allowed)], "", refused) as file:
            return file.read().decode()
    except TaskFailed:
        return "refused"


def test_what_is_unpacked_is_what_was_checked(run: SourceRun, allowed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive is written to between the checksum and the unpacking."""
    archive = allowed / "src.tar"
    archive.write_bytes(TAR)

    async def unpack(*arguments: object) -> object:
        archive.write_bytes(tar(entry("file", b"y")))
        return await real(*arguments)  # type: ignore[arg-type]

    real = archives._unpack
    monkeypatch.setattr(archives, "_unpack", unpack)
    run.checkout(Source(archive=str(archive), sha256=hashlib.sha256(TAR).hexdigest()))
    assert (run.folder / "file").read_bytes() == b"x"
