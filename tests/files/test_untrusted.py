"""Folders of a task can be walked, read and removed, whatever is in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from taskrunner.files.untrusted import MOUNTED, empty_folder, remove_folder, walk

UNPRIVILEGED = """
import os, sys
from pathlib import Path
from taskrunner.files.untrusted import empty_folder, open_beneath, walk
os.setgid(65534); os.setuid(65534)
folder = Path(sys.argv[1])
(folder / "a/b").mkdir(parents=True)
(folder / "a/b/file").write_text("hidden")
for path, mode in (("a/b/file", 0), ("a/b", 0o200), ("a", 0)):
    (folder / path).chmod(mode)
print(sorted(entry.name for entry in walk(folder)))
for path in ("a/b/file", "a/b", "a"):
    os.chmod(folder / path, 0)
print(os.read(open_beneath(folder, ("a", "b", "file")), 99))
for path in ("a/b/file", "a/b", "a"):
    os.chmod(folder / path, 0)
print(empty_folder(folder), os.listdir(folder))
"""


def test_the_owner_reads_and_removes_files_of_any_mode(open_tmp: Path) -> None:
    open_tmp.chmod(0o777)
    paths = [str(Path(path)) for path in (Path.cwd() / "engines", Path.cwd())]
    script = f"import sys; sys.path[:0] = {paths}\n" + UNPRIVILEGED
    printed = subprocess.check_output([sys.executable, "-c", script, open_tmp], text=True)
    assert printed == "['a', 'a/b', 'a/b/file']\nb'hidden'\n[] []\n"


def test_emptying_a_missing_folder_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert empty_folder(tmp_path / "missing") == []
    assert empty_folder(tmp_path / "file") == [f"{tmp_path / 'file'}: Not a directory"]


def test_a_folder_is_removed_once_or_twice(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/file").touch()
    assert remove_folder(folder) == []
    assert not folder.exists()
    assert remove_folder(folder) == []


def test_a_folder_that_cannot_be_removed_is_named(small_disk: Path) -> None:
    """A disk is mounted on it: what is on the disk stays."""
    (small_disk / "file").touch()
    assert remove_folder(small_disk) == [f"{small_disk}: {MOUNTED}"]
    assert (small_disk / "file").exists()


@pytest.mark.parametrize("inner", ["a", "a/b"])
def test_a_link_in_place_of_a_folder_is_not_followed_by_a_walk(tmp_path: Path, inner: str) -> None:
    """A process of the same account puts it there after the folder was listed."""
    folder, secret = tmp_path / "folder", tmp_path / "secret"
    (folder / "a/b").mkdir(parents=True)
    (secret / "b").mkdir(parents=True)
    (secret / "b/of-the-machine").touch()
    (secret / "of-the-machine").touch()
    found = []
    for each in walk(folder):
        found.append(each.name)
        if each.name == inner:
            shutil.rmtree(folder / inner)
            (folder / inner).symlink_to(secret)
    assert [name for name in found if "machine" in name] == []


def test_a_folder_that_is_written_to_meanwhile_is_emptied_or_told(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    script = "cd $1; while :; do mkdir -p a/b; touch a/b/c; mv a d; rm -rf d; done"
    with subprocess.Popen(["sh", "-c", script, "sh", folder], stderr=subprocess.DEVNULL) as writer:
        for _ in range(50):
            assert "No such file or directory" not in str(empty_folder(folder))
        writer.kill()
    assert remove_folder(folder) == []
