"""The image of a payload: a name, or a table that says where it is."""

from __future__ import annotations

from collections.abc import Mapping

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.model import Json
from taskrunner.queues.taskcluster.docker_worker.payload import ImageArtifact, IndexedImage, NamedImage, TaskImage
from taskrunner.schema.complaints import suggestion
from taskrunner.schema.decode import decode

WHERE = "payload.image"

FROM_QUEUE = "image"
"""The name of an image's file between the document of a task and `Queue.locate`."""

_FORMS: Mapping[str, type] = {
    "docker-image": NamedImage,
    "task-image": TaskImage,
    "indexed-image": IndexedImage,
}


def image_of(image: Json) -> str | ImageArtifact:
    """The name by which Docker pulls it, or the artifact that has it. Raises MalformedPayload."""
    if isinstance(image, str):
        return image
    if not isinstance(image, Mapping):
        raise MalformedPayload(Complaint(WHERE, "is neither a name nor an object", "write the name of an image"))
    kind = image.get("type")
    if not isinstance(kind, str) or kind not in _FORMS:
        fix = suggestion(kind if isinstance(kind, str) else "", tuple(_FORMS))
        raise MalformedPayload(Complaint(f"{WHERE}.type", "is not one of the choices", fix))
    found: object = decode(_FORMS[kind], image, WHERE)
    if isinstance(found, TaskImage | IndexedImage):
        return found
    return found.name if isinstance(found, NamedImage) else ""


def image_fields(image: str | ImageArtifact) -> dict[str, Json]:
    """As a task for the Docker platform has it."""
    return {"image": image} if isinstance(image, str) else {"image_file": {"from_queue": FROM_QUEUE}}


def image_path(image: Json) -> str:
    """Where its name stands, for complaints."""
    named = isinstance(image, Mapping) and image.get("type") == "docker-image"
    return f"{WHERE}.name" if named else WHERE
