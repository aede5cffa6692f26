"""The HTTP queue: a SQLite queue with an API in front of it, for `curl` and for the verbs of another machine."""

from taskrunner.queues.http.queue import HttpQueue as HttpQueue
