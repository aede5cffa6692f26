"""Which ready tasks have room on the worker that claims.

A task that does not fit is overtaken by smaller ones for PATIENCE seconds. From then on nothing behind it is granted to
a worker that could take it, so that what it needs becomes free there.
"""

from __future__ import annotations

import json
import sqlite3

from taskrunner.amounts import Amounts, Room
from taskrunner.errors import MalformedPayload
from taskrunner.queues.ledger.database import Ledger
from taskrunner.schema.decode import decode

PATIENCE = 60.0
"""Seconds for which a task is overtaken, from when it could have begun: as long as most small tasks take."""

MOST_LOOKED_AT = 1000
"""Tasks, about 10 ms: a claim holds the lock of the database meanwhile."""

_READY = """
SELECT seq, id, document, run_id, max(submitted, ifnull(not_before, 0)) AS since,
  json_extract(document, '$.resources') AS resources
FROM task WHERE state = 'ready' AND (? = '' OR id = ?) ORDER BY priority DESC, seq LIMIT ?
"""


def next_fitting(ledger: Ledger, n: int, only: str, room: Room) -> list[sqlite3.Row]:
    """Up to `n` ready tasks for which there is room, in their order."""
    chosen: list[sqlite3.Row] = []
    for task in ledger.db.execute(_READY, (only, only, MOST_LOOKED_AT)):
        asked = _asked(task["resources"])
        if room.has(asked):
            chosen.append(task)
            room = room.without(asked)
        elif ledger.wall() - task["since"] > PATIENCE:
            break
        if len(chosen) == n:
            break
    return chosen


def _asked(resources: object) -> Amounts:
    """Of a malformed task nothing: the worker that claims it reports every complaint."""
    try:
        return decode(Amounts, json.loads(resources)) if isinstance(resources, str) else Amounts()
    except (MalformedPayload, ValueError):
        return Amounts()
