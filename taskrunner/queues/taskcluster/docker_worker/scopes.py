"""Scopes: what the author of a task may use on a worker. The worker itself checks those of its own resources."""

from __future__ import annotations

from collections.abc import Iterable

ROLE = "assume:"
"""How a scope begins that stands for those of a role."""


def satisfies(scopes: Iterable[str], required: str) -> bool:
    """Whether one of the scopes is the required one, or its beginning with a `*`."""
    return any(required.startswith(scope[:-1]) if scope.endswith("*") else required == scope for scope in scopes)


def has_roles(scopes: Iterable[str]) -> bool:
    """Whether some of the scopes only the auth service knows."""
    return any(scope.startswith(ROLE) or (scope.endswith("*") and ROLE.startswith(scope[:-1])) for scope in scopes)


def cache_scope(name: str) -> str:
    """Of a cache, in the words of docker-worker: tasks on both workers need the same."""
    return f"docker-worker:cache:{name}"
