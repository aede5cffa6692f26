"""How long a server may take."""

CONNECT_TIMEOUT = 15.0
"""Seconds for a connection to come about: a few retries of TCP's first packet."""
SILENCE = 120.0
"""Seconds without a byte after which a server is given up. While it packs, git's sends one every 5."""
