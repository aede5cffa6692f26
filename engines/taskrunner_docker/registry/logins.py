"""Logging in to registries, and the meaning of their refusals."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from typing import TypeVar

import attrs

from taskrunner.blocking import OverLimit, run_blocking
from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.model import Secret
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError
from taskrunner_docker.options import EcrOptions, RegistryOptions
from taskrunner_docker.registry.login import Login
from taskrunner_docker.registry.references import Reference, names_registry
from taskrunner_docker.registry.refusals import (
    is_missing,
    is_of_unknown_authority,
    is_unauthorized,
    may_pass,
    registry_fault,
)
from taskrunner_docker.registry.stored_logins import stored_login

T = TypeVar("T")

ECR = "ecr"
"""The name of the registry of the worker's AWS account, also without an entry in the configuration."""

AMAZON = RegistryOptions(ecr=EcrOptions())

_DENIED = re.compile(r"denied|forbidden", re.IGNORECASE)


@attrs.frozen
class Registries:
    """The logins to registries, for one run: passwords are masked in its log before they are used."""

    client: DockerClient
    options: Mapping[str, RegistryOptions]
    reveal: Callable[[Secret], str] = attrs.field(repr=False)
    mask: Callable[[str], None] = attrs.field(repr=False)
    environment: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    """The worker's, which may have the credentials of AWS, and says where Docker's `config.json` is."""

    async def find(self, registry: str) -> Login | None:
        """The login for a registry: that of the configuration, else the one that `docker login` has stored. None for
        neither. An ECR token is always a fresh one.

        Raises: TaskFailed (`login-failed`), MalformedPayload (a secret that is not configured), Unavailable.
        """
        options = self.options.get(registry)
        if options is None:
            return await self._stored(registry)
        if options.ecr is None:
            password = self.reveal(options.password) if options.password else ""
            return Login(registry, options.username, password)
        username, password = await self._request_ecr_login(options.ecr)
        self.mask(password)
        return Login(registry, username, password)

    async def at(self, registry: str) -> tuple[str, Registries]:
        """The host of a registry that a task has named, and the registries with its login. `ecr`, and any other entry
        with `ecr` whose name is no host, is the registry of the worker's AWS account, whose host Amazon tells.

        Raises: TaskFailed (`login-failed`), Unavailable.
        """
        options = self.options.get(registry, AMAZON if registry == ECR else None)
        if options is None or options.ecr is None or names_registry(f"{registry}/"):
            return registry, self
        if find_spec("boto3") is None:
            what = "pip install 'taskrunner-worker[aws]'"
            raise TaskFailed("login-failed", f"login to ECR failed: this worker has no boto3: {what}")
        from taskrunner_docker.registry.ecr import request_host

        host = await self._ask_ecr(partial(request_host, options.ecr, self.environment))
        return host, attrs.evolve(self, options={host: options, **self.options})

    async def create_repository(self, name: Reference) -> bool:
        """Makes the repository of a name in ECR, where the configuration says so. False where it does not.

        Raises: TaskFailed (`push-failed`), Unavailable.
        """
        options = self.options.get(name.registry)
        if options is None or options.ecr is None or not options.ecr.create:
            return False
        from taskrunner_docker.registry.ecr import create_repository

        await self._ask_ecr(partial(create_repository, options.ecr, self.environment, name))
        return True

    async def _stored(self, registry: str) -> Login | None:
        login = await stored_login(registry, self.environment)
        if login is not None:
            self.mask(login.secret)
        return login

    async def _request_ecr_login(self, options: EcrOptions) -> tuple[str, str]:
        from taskrunner_docker.registry.ecr import request_login

        return await self._ask_ecr(partial(request_login, options, self.environment))

    async def _ask_ecr(self, work: Callable[[], T]) -> T:
        from taskrunner_docker.registry.ecr import ECR_LIMIT

        try:
            return await run_blocking(work, limit=ECR_LIMIT, doing="a call of ECR")
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
        if may_pass(text):
            return Unavailable(f"{failure}: {text}; the registry may be down")
        if fault := registry_fault(text):
            return TaskFailed(_reason(step, ""), f"{failure}: {fault}: {text}")
        return TaskFailed(_reason(step, text), f"{failure}: {text}; {self._advice(step, name, text)}")

    def _advice(self, step: str, name: str, text: str) -> str:
        registry = name if step == "login" else Reference.parse(name).registry
        options = self.options.get(registry)
        where = f'[docker.registries."{registry}"]'
        if is_of_unknown_authority(text):
            return (
                "its authority is not known to Docker: put the authority's certificate, as PEM, into"
                f" /etc/docker/certs.d/{registry}/ca.crt on the machine of Docker; no restart is needed"
            )
        if is_missing(text) and options and options.ecr and step == "push":
            repository = Reference.parse(name).path
            return (
                f"set `create` in {where}.ecr, or make the repository: aws ecr create-repository --repository-name"
                f" {repository}"
            )
        if is_unauthorized(text) or _DENIED.search(text):
            if options is None:
                add = f"add {where} with username and password, or `docker login {registry}` as the worker's user"
                return f"the worker's configuration has no login for it: {add}"
            return f"check the login in {where} of the worker's configuration, and what it may do"
        return "check that the name is right and that the registry has it"


def _reason(step: str, text: str) -> str:
    return "login-failed" if step == "login" or is_unauthorized(text) else f"{step}-failed"
