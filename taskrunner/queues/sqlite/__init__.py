"""A queue in one SQLite file, for all processes of one machine: the embedded default."""

from taskrunner.queues.sqlite.queue import SqliteQueue as SqliteQueue
