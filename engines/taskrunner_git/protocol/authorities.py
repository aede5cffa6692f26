"""The authorities whose certificates are trusted."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from taskrunner.errors import TaskFailedInternally

_GIT = "GIT_SSL_CAINFO"


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trusts the authorities in `ca_file`, and those of the system: OpenSSL takes them from SSL_CERT_FILE and
    SSL_CERT_DIR. GIT_SSL_CAINFO replaces the system's, as for git.

    Raises: TaskFailedInternally, for a file that cannot be used: the worker's configuration is wrong.
    """
    path = os.environ.get(_GIT) or None
    try:
        context = ssl.create_default_context(cafile=path)
        if ca_file is not None:
            path = str(ca_file)
            context.load_verify_locations(path)
    except (OSError, ValueError) as error:
        lacking = isinstance(error, (ssl.SSLError, ValueError))
        why = "it has no certificates" if lacking else getattr(error, "strerror", "")
        raise TaskFailedInternally(f"clone: the authorities in {path} cannot be read: {why}") from None
    return context
