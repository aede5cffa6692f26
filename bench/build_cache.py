"""What the builds of a benchmark leave in BuildKit's cache, and its removal."""

from __future__ import annotations

from contextlib import suppress
from operator import itemgetter
from typing import Any

import docker
from docker.errors import APIError


def cached(engine: docker.DockerClient) -> set[str]:
    return {record["ID"] for record in engine.df()["BuildCache"] or []}


def prune(engine: docker.DockerClient, known: set[str]) -> None:
    """Removes the records of these builds from BuildKit's cache, and no others: their steps name a folder of the bench,
    their contexts are large, and a record that is made from one of these belongs to them too. The newest goes first,
    since the base of a record cannot be removed."""
    mine: list[str] = []
    for record in sorted(engine.df()["BuildCache"] or [], key=itemgetter("CreatedAt")):
        ours = "/bench-" in record["Description"] or record["Size"] > 20 << 20 or record["Parent"] in mine
        if record["ID"] not in known and ours:
            mine.append(record["ID"])
    for name in reversed(mine):
        only: Any = {"id": name}
        with suppress(APIError):
            engine.api.prune_builds(filters=only, all=True)
