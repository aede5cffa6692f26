"""Limits of time for a server."""

CONNECT_TIMEOUT = 15.0
"""Seconds to make a connection: a few retries of TCP's first packet."""
READ_TIMEOUT = 120.0
"""Seconds without a byte from a server. While it packs, git's own server sends one every 5."""
