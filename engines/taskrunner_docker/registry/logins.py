"""Logging in to registries, and the meaning of their refusals."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.model import Secret
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.options import EcrOptions, RegistryOptions
from taskrunner_docker.registry.references import DOCKER_HUB, Reference

_HUB_ADDRESS = "https://index.docker.io/v1/"
"""The name of Docker Hub in a login."""

_TRANSIENT = re.compile(
    r"connection refused|connection reset|no such host|server misbehaving|i/o timeout|timeout exceeded|"
    r"handshake timeout|request canceled|broken pipe|network is unreachable|\bEOF\b|"
    r"(?:status|StatusCode|code)[^0-9]{0,6}(?:5\d\d|429)|toomanyrequests|Service Unavailable|Bad Gateway",
    re.IGNORECASE,
)
_EXPIRED = re.compile(r"token (?:has|is) expired", re.IGNORECASE)
_UNAUTHORIZED = re.compile(r"unauthorized|authentication required|no basic auth|incorrect username", re.IGNORECASE)
_DENIED = re.compile(r"denied|forbidden", re.IGNORECASE)
_MISSING = re.compile(r"name unknown|does not exist|not found|manifest unknown", re.IGNORECASE)


@attrs.frozen
class Login:
    """A name and a password for one registry."""

    registry: str
    username: str
    password: str = attrs.field(repr=False)

    @property
    def document(self) -> dict[str, str]:
        """As Docker's API expects it."""
        address = _HUB_ADDRESS if self.registry == DOCKER_HUB else self.registry
        return {"username": self.username, "password": self.password, "serveraddress": address}


def auth_header(login: Login | None) -> dict[str, str]:
    """The header of a pull or push; without a login, that of an anonymous one."""
    document = login.document if login else {}
    return {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(document).encode()).decode()}


@attrs.frozen
class Registries:
    """The registries of the configuration, for one run: passwords are masked in its log before they are used."""

    client: DockerClient
    options: Mapping[str, RegistryOptions]
    reveal: Callable[[Secret], str] = attrs.field(repr=False)
    mask: Callable[[str], None] = attrs.field(repr=False)

    async def find(self, registry: str) -> Login | None:
        """The login for a registry; None when the configuration has none. An ECR token is always a fresh one.

        Raises: TaskFailed (`login-failed`), MalformedPayload (a secret that is not configured), Unavailable.
        """
        options = self.options.get(registry)
        if options is None:
            return None
        if options.ecr is None:
            password = self.reveal(options.password) if options.password else ""
            return Login(registry, options.username, password)
        username, password = await self._request_ecr_login(options.ecr)
        self.mask(password)
        return Login(registry, username, password)

    async def _request_ecr_login(self, options: EcrOptions) -> tuple[str, str]:
        from taskrunner_docker.registry.ecr import ECR_LIMIT, request_login

        try:
            return await run_blocking(lambda: request_login(options), limit=ECR_LIMIT, doing="the login to ECR")
        except OverLimit as error:
            raise Unavailable(str(error)) from None

    async def log_in(self, registry: str) -> Login | None:
        """As `find`, and then logs in to the registry. Same errors."""
        login = await self.find(registry)
        if login is not None:
            try:
                async with await self.client.stream("POST", "/auth", body=login.document):
                    pass
            except DockerError as error:
                raise self.explain("login", registry, str(error)) from None
        return login

    def explain(self, step: str, name: str, text: str) -> TaskFailed | Unavailable:
        """The error of a refusal, with what to do. `step` is login, pull or push; `name` is the registry or image."""
        failure = f"{step} of {name} failed" if step != "login" else f"login to {name} failed"
        if _TRANSIENT.search(text) or _EXPIRED.search(text):
            return Unavailable(f"{failure}: {text}; the registry may be down")
        return TaskFailed(_reason(step, text), f"{failure}: {text}; {self._advice(step, name, text)}")

    def _advice(self, step: str, name: str, text: str) -> str:
        registry = name if step == "login" else Reference.parse(name).registry
        options = self.options.get(registry)
        where = f'[docker.registries."{registry}"]'
        if _MISSING.search(text) and options and options.ecr and step == "push":
            repository = Reference.parse(name).path
            return f"ECR makes no repositories by itself: aws ecr create-repository --repository-name {repository}"
        if _UNAUTHORIZED.search(text) or _DENIED.search(text):
            if options is None:
                return f"the worker's configuration has no login for it: add {where} with username and password"
            return f"check the login in {where} of the worker's configuration, and what it may do"
        return "check that the name is right and that the registry has it"


def _reason(step: str, text: str) -> str:
    return "login-failed" if step == "login" or _UNAUTHORIZED.search(text) else f"{step}-failed"
