"""The tables of a ledger, and how its file is recognised.

A task is `scheduled` (until a time of day), `delayed` (until a reading of the boot clock), `ready`, `running` or
`resolved`; the first three are publicly `pending`. `due` is when such a state expires; of a resolved task it is the
time of day of its end, from which its retention counts. Each state that is searched has a partial index of its own: one
common index over all unresolved tasks costs 20 ms a claim with 100,000 tasks in flight, the partial ones 0.015 ms at
any size.
"""

from __future__ import annotations

import sqlite3

from taskrunner.errors import ConfigError

APPLICATION_ID = 0x7461736B
"""`task`: SQLite keeps it in the header of the file, where `file` and this module recognise the owner."""

SCHEMA_VERSION = 2

TABLES = """
CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE task (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  document TEXT NOT NULL,
  priority INTEGER NOT NULL,
  retries INTEGER NOT NULL,
  not_before REAL,
  deadline REAL,
  submitted REAL NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('scheduled', 'delayed', 'ready', 'running', 'resolved')),
  due REAL,
  retries_left INTEGER NOT NULL,
  run_id INTEGER NOT NULL DEFAULT -1,
  resolution TEXT
) STRICT;

CREATE TABLE run (
  seq INTEGER NOT NULL REFERENCES task (seq),
  run_id INTEGER NOT NULL,
  worker_id TEXT NOT NULL,
  home TEXT NOT NULL,
  token TEXT NOT NULL,
  started REAL NOT NULL,
  resolved REAL,
  ended_by TEXT CHECK (ended_by IN ('holder', 'release', 'cancel', 'expiry')),
  resolution TEXT,
  PRIMARY KEY (seq, run_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX task_ready ON task (priority DESC, seq) WHERE state = 'ready';
CREATE INDEX task_running ON task (due) WHERE state = 'running';
CREATE INDEX task_delayed ON task (due) WHERE state = 'delayed';
CREATE INDEX task_scheduled ON task (due) WHERE state = 'scheduled';
CREATE INDEX task_deadline ON task (deadline) WHERE deadline IS NOT NULL AND state IN ('scheduled', 'delayed', 'ready');
"""


def prepare(db: sqlite3.Connection, name: str) -> None:
    """Makes the tables in an empty database. `name` is what errors call it.

    Raises: ConfigError when it belongs to another program, or to another version.
    """
    owner, version = _pragma(db, "application_id"), _pragma(db, "user_version")
    if owner == APPLICATION_ID:
        _check_version(version, name)
    elif owner or version or db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise ConfigError(f"{name} is the database of another program: name another file for the queue")
    else:
        _create(db)


def _check_version(version: int, name: str) -> None:
    if version != SCHEMA_VERSION:
        raise ConfigError(
            f"{name} was written by another version of taskrunner (its format is {version}, this one knows "
            f"{SCHEMA_VERSION}): use the version that wrote it, or name another file for the queue"
        )


def _create(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL").fetchone()
    db.executescript(
        f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; "
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT"
    )


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
