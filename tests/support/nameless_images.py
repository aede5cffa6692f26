"""A plugin of pytest: what the tests have built leaves no layers in Docker.

The classic builder keeps an image without a name for each step, as its cache. They would fill the disk of a machine
that runs the tests every day. Young ones stay until a later session: another one on the same Docker may be amid a
build, which fails when the image of its last step is removed.
"""

from __future__ import annotations

from contextlib import closing, suppress

import pytest

_AGE = "10m"
"""More than a build of a test takes."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Once, by the process that has started the others. Images with the label of the base image are ours."""
    if hasattr(session.config, "workerinput"):
        return
    with suppress(Exception):  # without Docker there is nothing to remove
        import docker

        from script.base_image import LABEL

        with closing(docker.from_env()) as client:
            client.images.prune({"dangling": True, "label": LABEL, "until": _AGE})
