"""What one run can take of its worker by one proxy. A run that reaches a limit harms itself alone."""

from __future__ import annotations

MAX_CONNECTIONS = 64
"""Open at a time, with and without a request: each is a file of the worker. Further ones are closed at once."""

MAX_HEADERS = 64 << 10
"""Bytes of a request before its body."""

MAX_BODY = 1 << 30
"""Bytes of a request's body. It is never in memory as a whole: the reading of a handler decides about the pace."""

REQUEST_TIMEOUT = 30.0
"""Seconds from a connection, or from the end of a response, until the head of the next request is complete."""

STALL_TIMEOUT = 60.0
"""Seconds for which a client may send nothing of a body that is read, or take nothing of a response."""
