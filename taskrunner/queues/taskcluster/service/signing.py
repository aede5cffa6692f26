"""The Hawk header of a request that the Taskcluster client does not make itself."""

from __future__ import annotations

from collections.abc import Sequence

import mohawk
from taskcluster.aio import Queue

from taskrunner.queues.taskcluster.service.credentials import Credentials


def authorization(credentials: Credentials, root_url: str, scopes: Sequence[str], method: str, url: str) -> str:
    """The header `Authorization` for a request with these scopes and no others. The body is not signed. Raises
    ValueError for what is no URL."""
    signer = Queue(credentials.options(root_url, scopes))
    key = {"id": credentials.client_id, "key": credentials.access_token, "algorithm": "sha256"}
    ext = signer.makeHawkExt().decode()
    return str(mohawk.Sender(key, url, method, ext=ext, always_hash_content=False).request_header)
