"""The logins that `docker login` has stored for the worker's user: in `config.json`, or with a credential helper."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from taskrunner.blocking import run_blocking
from taskrunner.errors import TaskFailed
from taskrunner_docker.registry.credential_helper import ask_helper
from taskrunner_docker.registry.login import HUB_ADDRESS, Login
from taskrunner_docker.registry.references import DOCKER_HUB

_DISK_LIMIT = 30.0
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_TOKEN_USER = "<token>"  # noqa: S105  a user name
"""The user name of a helper's answer whose password is an identity token."""


async def stored_login(registry: str, environment: Mapping[str, str]) -> Login | None:
    """As Docker's command line chooses it: the helper for this registry, the helper for all, the file itself.

    Raises: TaskFailed (`login-failed`: the file or a helper is broken), Unavailable (a helper does not answer).
    """
    path = config_file(environment)
    if path is None:
        return None
    config = await run_blocking(partial(_read, path), limit=_DISK_LIMIT, doing=f"reading {path}")
    helper = _entry(config.get("credHelpers"), registry) or config.get("credsStore")
    if helper:
        address = HUB_ADDRESS if registry == DOCKER_HUB else registry
        if (found := await ask_helper(str(helper), address, environment)) is not None:
            return _login(registry, *found)
    return _from_file(registry, _entry(config.get("auths"), registry), path)


def config_file(environment: Mapping[str, str]) -> Path | None:
    """Where Docker's command line keeps its settings; None where there can be none."""
    if folder := environment.get("DOCKER_CONFIG"):
        return Path(folder) / "config.json"
    home = environment.get("HOME")
    return Path(home) / ".docker" / "config.json" if home else None


def _read(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TaskFailed("login-failed", f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise TaskFailed("login-failed", f"{path} is no JSON: repair it, or log in again") from None
    return config if isinstance(config, dict) else {}


def _entry(table: object, registry: str) -> Any:
    """The entry of a registry. Its key may be a host, or a URL as older versions have written it."""
    for key, value in table.items() if isinstance(table, dict) else ():
        host = str(key).partition("://")[2] or str(key)
        host = host.split("/")[0]
        if host == registry or (registry == DOCKER_HUB and host in _HUB_NAMES):
            return value
    return None


def _from_file(registry: str, entry: object, path: Path) -> Login | None:
    if not isinstance(entry, dict):
        return None
    if token := entry.get("identitytoken"):
        return Login(registry, "", identity_token=str(token))
    if not entry.get("auth"):
        return None
    try:
        username, _, password = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
    except ValueError:
        raise TaskFailed("login-failed", f"{path}: the login for {registry} is damaged: log in again") from None
    return Login(registry, username, password.rstrip("\0"))


def _login(registry: str, username: str, password: str) -> Login:
    if username == _TOKEN_USER:
        return Login(registry, "", identity_token=password)
    return Login(registry, username, password)
