"""An Amazon registry (ECR): its password, a token that is valid for twelve hours and requested before each use; and its
repositories, which it does not make by itself."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner_docker.options import EcrOptions
from taskrunner_docker.registry.aws_session import aws_session
from taskrunner_docker.registry.references import Reference

_TIMEOUTS = Config(connect_timeout=10, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"})
"""Seconds. boto3's own limit is a minute, which would delay a push."""
ECR_LIMIT = 150.0
"""Seconds of a login: a little more than three attempts take at most, after which boto3 ends its thread itself."""
_ACCOUNT = re.compile(r"(\d{12})\.dkr\.ecr[.-]")
"""The account of a registry, in its host."""
_TRANSIENT = frozenset({"ThrottlingException", "RequestLimitExceeded", "ServerException", "InternalFailure"})


def request_login(options: EcrOptions, environment: Mapping[str, str]) -> tuple[str, str]:
    """User and password. Blocks. The AWS credentials come from the worker's environment, `.env` included, else from the
    usual chain of AWS: profile, role of the container, role of the machine.

    Raises: TaskFailed (`login-failed`: no credentials, or AWS refuses them), Unavailable.
    """
    return _decode(_authorization(options, environment)["authorizationToken"])


def request_host(options: EcrOptions, environment: Mapping[str, str]) -> str:
    """The host of the registry that the credentials are for. Blocks, and raises, as `request_login`."""
    return urlsplit(str(_authorization(options, environment)["proxyEndpoint"])).netloc


def _authorization(options: EcrOptions, environment: Mapping[str, str]) -> dict[str, Any]:
    with _explained(options, "login-failed", "login to ECR failed", "ecr:GetAuthorizationToken"):
        answer = _client(options, environment).get_authorization_token()
    found: dict[str, Any] = answer["authorizationData"][0]
    return found


def create_repository(options: EcrOptions, environment: Mapping[str, str], name: Reference) -> None:
    """Makes the repository of a name, unless it is there. Blocks; the same credentials.

    Raises: TaskFailed (`push-failed`), Unavailable.
    """
    account = _ACCOUNT.match(name.registry)
    owner = {"registryId": account[1]} if account else {}
    failure = f"the repository {name.path} was not made in ECR"
    with _explained(options, "push-failed", failure, "ecr:CreateRepository"):
        client = _client(options, environment)
        with suppress(client.exceptions.RepositoryAlreadyExistsException):
            client.create_repository(repositoryName=name.path, **owner)


def _client(options: EcrOptions, environment: Mapping[str, str]) -> Any:
    return aws_session(environment).client(
        "ecr", region_name=_region(options, environment), endpoint_url=options.endpoint or None, config=_TIMEOUTS
    )


def _region(options: EcrOptions, environment: Mapping[str, str]) -> str | None:
    """Without one, boto3 searches in its profile."""
    return options.region or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")


@contextmanager
def _explained(options: EcrOptions, reason: str, failure: str, permission: str) -> Iterator[None]:
    """Errors of AWS in words. Raises: TaskFailed, Unavailable."""
    try:
        yield
    except ProfileNotFound as error:
        raise TaskFailed(reason, f"{failure}: {error}: check AWS_PROFILE of the worker") from None
    except (NoCredentialsError, PartialCredentialsError):
        raise TaskFailed(
            reason,
            f"{failure}: this worker has no AWS credentials: give the machine a role, or set AWS_PROFILE or"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the worker, in its environment or in .env",
        ) from None
    except NoRegionError:
        raise TaskFailed(reason, f"{failure}: no AWS region: set `region` of its `ecr`, or AWS_REGION") from None
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code in _TRANSIENT or status >= 500:  # noqa: PLR2004  HTTP's "our fault, try again"
            raise Unavailable(f"{failure}: ECR has a fault now: {error}") from None
        raise TaskFailed(reason, f"{failure}: {error}; the worker's role needs the permission {permission}") from None
    except BotoCoreError as error:
        raise Unavailable(f"AWS does not answer ({options.endpoint or options.region}): {error}") from None


def _decode(token: str) -> tuple[str, str]:
    user, _, password = base64.b64decode(token).decode().partition(":")
    return user, password
