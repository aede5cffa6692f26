"""The registry of an AWS account on this machine: moto's API, which names a real registry as the account's own."""

from __future__ import annotations

import base64
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3

from tests.support.aws import FAKE_CREDENTIALS, aws
from tests.support.registry import Registry, registry
from tests.support.small_server import QuietHandler, host_of, small_server

REGION = "eu-west-1"
ANSWER_LIMIT = 30  # seconds


@contextmanager
def ecr(folder: Path) -> Iterator[tuple[str, Registry]]:
    """Yields the URL of the API, and the registry, which takes the API's logins only."""
    with aws() as moto:
        client = boto3.client(
            "ecr",
            region_name=REGION,
            endpoint_url=moto,
            aws_access_key_id=FAKE_CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=FAKE_CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        )
        answer = client.get_authorization_token()["authorizationData"][0]
        user, _, password = base64.b64decode(answer["authorizationToken"]).decode().partition(":")
        with (
            registry(folder, {user: password}) as running,
            _renaming(moto, answer["proxyEndpoint"], f"http://{running.host}") as endpoint,
        ):
            yield endpoint, running


@contextmanager
def _renaming(upstream: str, old: str, new: str) -> Iterator[str]:
    """A proxy that writes one name in place of another into the answers."""

    class Handler(QuietHandler):
        def do_POST(self) -> None:
            request = urllib.request.Request(upstream, self.body(), dict(self.headers.items()))  # noqa: S310  moto
            with urllib.request.urlopen(request, timeout=ANSWER_LIMIT) as response:  # noqa: S310  moto
                answer = response.read().replace(old.encode(), new.encode())
            self.answer(200, answer)

    with small_server(Handler) as server:
        yield f"http://{host_of(server)}"
