"""The password for an Amazon registry (ECR): a token that is valid for twelve hours, requested before each use."""

from __future__ import annotations

import base64

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner_docker.options import EcrOptions

_TIMEOUTS = Config(connect_timeout=10, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"})
"""Seconds. boto3's own limit is a minute, which would delay a push."""
ECR_LIMIT = 150.0
"""Seconds of a login: a little more than three attempts take at most, after which boto3 ends its thread itself."""
_TRANSIENT = frozenset({"ThrottlingException", "RequestLimitExceeded", "ServerException", "InternalFailure"})


def request_login(options: EcrOptions) -> tuple[str, str]:
    """User and password. Blocks. The AWS credentials come from its usual chain: environment, profile, instance role.

    Raises: TaskFailed (`login-failed`: no credentials, or AWS refuses them), Unavailable.
    """
    try:
        session = boto3.Session()
        client = session.client(
            "ecr", region_name=options.region, endpoint_url=options.endpoint or None, config=_TIMEOUTS
        )
        answer = client.get_authorization_token()
    except (NoCredentialsError, PartialCredentialsError):
        raise TaskFailed(
            "login-failed",
            "login to ECR failed: this worker has no AWS credentials: give the machine a role, or set AWS_PROFILE or"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the worker",
        ) from None
    except ClientError as error:
        raise _refused(error) from None
    except BotoCoreError as error:
        raise Unavailable(f"AWS does not answer ({options.endpoint or options.region}): {error}") from None
    return _decode(answer["authorizationData"][0]["authorizationToken"])


def _decode(token: str) -> tuple[str, str]:
    user, _, password = base64.b64decode(token).decode().partition(":")
    return user, password


def _refused(error: ClientError) -> Exception:
    code = error.response["Error"]["Code"]
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if code in _TRANSIENT or status >= 500:  # noqa: PLR2004  HTTP's "our fault, try again"
        return Unavailable(f"AWS cannot give a token for ECR now: {error}")
    return TaskFailed(
        "login-failed",
        f"login to ECR failed: {error}; the worker's role needs the permission ecr:GetAuthorizationToken",
    )
