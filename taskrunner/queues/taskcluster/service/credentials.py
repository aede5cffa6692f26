"""Credentials of Taskcluster: those of the worker, and those of each claim, which are the claim's token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self

import attrs


@attrs.frozen
class Credentials:
    """A client id with its key. Temporary ones have a certificate, which says their scopes and when they end."""

    client_id: str
    access_token: str = attrs.field(repr=False)
    certificate: str = attrs.field(default="", repr=False)

    @classmethod
    def of_token(cls, token: str) -> Self:
        """The credentials in the token of a claim. Raises ValueError."""
        try:
            client_id, access_token, certificate = json.loads(token)
        except (TypeError, ValueError):
            problem = "this is no token of a claim of Taskcluster"
        else:
            return cls(str(client_id), str(access_token), str(certificate))
        raise ValueError(problem)  # outside of `except`: the chain of causes would quote the token

    @property
    def token(self) -> str:
        """As the token of a claim. Whoever has it can report for the run, and crash recovery must."""
        return json.dumps([self.client_id, self.access_token, self.certificate])

    def options(self, root_url: str, scopes: Sequence[str] | None = None) -> dict[str, Any]:
        """For a client of Taskcluster. With `scopes`, its requests have no others."""
        known = {"clientId": self.client_id, "accessToken": self.access_token}
        if self.certificate:
            known["certificate"] = self.certificate
        limited = {} if scopes is None else {"authorizedScopes": list(scopes)}
        return {"rootUrl": root_url, "credentials": known, "maxRetries": 0, **limited}
