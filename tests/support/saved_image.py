"""An image that only a file has."""

from __future__ import annotations

import gzip
import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import attrs
import docker

from script.base_image import base_layer, static_busybox


@attrs.frozen
class SavedImage:
    """An image that Docker has no more."""

    image_id: str
    name: str
    content: bytes
    """As `docker save` writes it, compressed by gzip."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@contextmanager
def saved_image(api: docker.APIClient) -> Iterator[SavedImage]:
    """A new image, with the tools of the base image. It is removed at the end, should a test have loaded it."""
    name = f"saved-{uuid.uuid4().hex[:8]}:1"
    changes = ["ENV PATH=/bin:/usr/bin", f"LABEL of={name}"]
    api.import_image_from_data(base_layer(static_busybox()), repository=name[:-2], tag="1", changes=changes)
    image_id = str(api.inspect_image(name)["Id"])
    content = gzip.compress(b"".join(api.get_image(name)), 1)
    api.remove_image(name)
    yield SavedImage(image_id, name, content)
    for left in (image_id, name):
        with suppress(docker.errors.ImageNotFound):
            api.remove_image(left, force=True)
