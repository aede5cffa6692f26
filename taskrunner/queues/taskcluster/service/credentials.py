"""Credentials of Taskcluster: those of the worker, and those of each claim."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs


@attrs.frozen
class Credentials:
    """A client id with its key. Temporary ones have a certificate, which says their scopes and when they end."""

    client_id: str
    access_token: str = attrs.field(repr=False)
    certificate: str = attrs.field(default="", repr=False)

    def options(self, root_url: str, scopes: Sequence[str] | None = None) -> dict[str, Any]:
        """For a client of Taskcluster. With `scopes`, its requests have no others."""
        known = {"clientId": self.client_id, "accessToken": self.access_token}
        if self.certificate:
            known["certificate"] = self.certificate
        limited = {} if scopes is None else {"authorizedScopes": list(scopes)}
        return {"rootUrl": root_url, "credentials": known, "maxRetries": 0, **limited}
