"""The packs that a process has verified: not read again, and never taken for others."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from taskrunner_git.failures import Broken
from taskrunner_git.packs import verified
from taskrunner_git.packs.verified import verified_id
from tests.git.conftest import Fetcher, noise
from tests.support.githttp import GitServer, make_repository

BODY = b"PACK" + bytes(1000)


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    path = tmp_path / "a.pack"
    write(path, BODY)
    return path


@pytest.fixture
def old_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file counts as written long ago."""
    monkeypatch.setattr(verified, "_CLOCK", -(10**18))


def write(path: Path, body: bytes) -> None:
    path.write_bytes(body + hashlib.sha1(body, usedforsecurity=False).digest())


def read_by(path: Path) -> int:
    """Bytes of a file that a verification of it reads."""
    before = rchar()
    verified_id(path)
    return rchar() - before


def rchar() -> int:
    """Bytes that this process has read."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.usefixtures("old_files")
def test_a_pack_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "large.pack", noise(1, 1 << 20))
    assert read_by(tmp_path / "large.pack") > 1 << 20
    assert read_by(tmp_path / "large.pack") < 1 << 19
    assert verified_id(tmp_path / "large.pack") == (tmp_path / "large.pack").read_bytes()[-20:]


def test_a_pack_that_was_just_written_is_read_again(tmp_path: Path) -> None:
    """Its next change might have the same time."""
    write(tmp_path / "large.pack", noise(1, 1 << 20))
    assert read_by(tmp_path / "large.pack") > 1 << 20
    assert read_by(tmp_path / "large.pack") > 1 << 20


@pytest.mark.usefixtures("old_files")
def test_damage_after_it_was_verified_is_found_whatever_the_time_of_the_file_is_set_to(pack: Path) -> None:
    verified_id(pack)
    before = pack.stat()
    with pack.open("r+b") as file:
        file.seek(100)
        file.write(b"x")
    os.utime(pack, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(Broken):
        verified_id(pack)


@pytest.mark.usefixtures("old_files")
def test_another_pack_in_its_place_has_another_id(pack: Path, tmp_path: Path) -> None:
    first = verified_id(pack)
    write(tmp_path / "new", BODY[::-1])
    (tmp_path / "new").replace(pack)
    assert verified_id(pack) == pack.read_bytes()[-20:] != first


@pytest.mark.usefixtures("old_files")
def test_a_few_are_known_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verified, "_MAX_KNOWN", 2)
    monkeypatch.setattr(verified, "_known", type(verified._known)())
    for number in range(4):
        write(tmp_path / f"{number}.pack", bytes([number]))
        verified_id(tmp_path / f"{number}.pack")
    assert len(verified._known) == 2


@pytest.mark.usefixtures("old_files")
def test_a_mirror_that_is_damaged_after_a_fetch_is_made_anew(root: Path, server: GitServer, fetcher: Fetcher) -> None:
    make_repository(root / "web", {"random": noise(1, 20_000)})
    files = fetcher.files(server.url("web"))
    assert fetcher.files(server.url("web")) == files
    [pack] = (fetcher.mirror / "objects/pack").glob("*.pack")
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 1
    pack.write_bytes(data)
    assert fetcher.files(server.url("web")) == files
