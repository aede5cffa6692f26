"""Locks of files: each open file has its own, also within one process."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from taskrunner.files.file_lock import is_at, lock_existing, locked, open_lock_file, try_lock


def test_one_lock_or_several_shared_ones(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second, third = (open_lock_file(path) for _ in range(3))
    assert try_lock(first)
    assert not try_lock(second, shared=True)
    assert try_lock(first, shared=True), "its kind can be changed"
    assert try_lock(second, shared=True)
    assert not try_lock(third)
    os.close(first)
    os.close(second)
    assert try_lock(third)
    os.close(third)


def test_a_file_that_is_not_there_or_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert lock_existing(path) is None
    assert not path.exists()
    file = open_lock_file(path)
    assert is_at(file, path)
    path.unlink()
    assert not is_at(file, path)
    path.touch()
    assert not is_at(file, path)
    os.close(file)


def test_the_lock_of_a_file_that_was_removed_while_it_was_waited_for_is_none(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    held = lock_existing(path)
    assert held is not None
    assert lock_existing(path) is None
    found: list[int | None] = []
    waiting = threading.Thread(target=lambda: found.append(lock_existing(path, wait=True)))
    waiting.start()
    path.unlink()  # before or after the thread has opened it
    os.close(held)
    waiting.join()
    assert found == [None]


def test_a_lock_is_held_inside_of_its_block(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", list[str]()

    def enter() -> None:
        with locked(path):
            order.append("second")

    second = threading.Thread(target=enter)
    with locked(path):
        assert lock_existing(path, shared=True) is None
        second.start()
        order.append("first")
    second.join()
    assert order == ["first", "second"]
    file = lock_existing(path)
    assert file is not None
    os.close(file)
