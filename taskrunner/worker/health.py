"""Health: an unfit machine that goes on claiming would fail every task of a queue."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from taskrunner.files.identity import identity
from taskrunner.model import Health
from taskrunner.runs.services import Services

REPLACED = "the home folder {} was removed or replaced while this worker runs: stop the worker, and start it again"


async def check_health(services: Services, min_free_disk: int) -> Health:
    """Checks the disk of the home, then what runs have met of its faults, then the open platforms. A platform that does
    not answer is not fit.

    Takes microseconds, unless the disk is full: then caches that are not in use are deleted, and it is checked again.
    """
    if identity(services.home) != services.home_identity:
        return Health(fit=False, why=REPLACED.format(services.home))
    disk = _disk(services.home, min_free_disk)
    if not disk.fit and await _make_room(services, min_free_disk):
        disk = _disk(services.home, min_free_disk)
    if disk.fit:
        disk = await services.faults.check()
    return await services.platforms.health() if disk.fit else disk


async def _make_room(services: Services, min_free: int) -> int:
    """Deletes caches that are not in use. Returns how many."""
    with suppress(OSError):
        caches = [*map(services.caches, services.platforms.open_ones), services.engine_caches]
        return sum([await each.trim(min_free=min_free) for each in caches])
    return 0


def _disk(home: Path, min_free: int) -> Health:
    try:
        system = os.statvfs(home)
    except OSError as error:
        return Health(fit=False, why=f"the home folder {home} cannot be used: {error.strerror}")
    free = system.f_bavail * system.f_frsize
    if free < min_free:
        return Health(fit=False, why=f"only {free:,} bytes are free in {home}; at least {min_free:,} must be")
    if system.f_files and system.f_favail == 0:
        return Health(fit=False, why=f"no file can be made in {home}: its file system has run out of inodes")
    return Health(fit=True)
