"""A login to one registry, and the form in which Docker's API takes it."""

from __future__ import annotations

import base64
import json

import attrs

from taskrunner_docker.registry.references import DOCKER_HUB

HUB_ADDRESS = "https://index.docker.io/v1/"
"""The name of Docker Hub in a login."""


@attrs.frozen
class Login:
    """A name and a password for one registry, or a token in place of both."""

    registry: str
    username: str
    password: str = attrs.field(default="", repr=False)
    identity_token: str = attrs.field(default="", repr=False)

    @property
    def secret(self) -> str:
        """What must never be shown: the password or the token."""
        return self.identity_token or self.password

    @property
    def document(self) -> dict[str, str]:
        """As Docker's API expects it."""
        address = HUB_ADDRESS if self.registry == DOCKER_HUB else self.registry
        if self.identity_token:
            return {"identitytoken": self.identity_token, "serveraddress": address}
        return {"username": self.username, "password": self.password, "serveraddress": address}


def auth_header(login: Login | None) -> dict[str, str]:
    """The header of a pull or push; without a login, that of an anonymous one."""
    document = login.document if login else {}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(document).encode()).decode()}
