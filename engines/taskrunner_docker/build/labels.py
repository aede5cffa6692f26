"""The labels that say where an image is from. Names and meaning:
https://github.com/opencontainers/image-spec/blob/main/annotations.md."""

from __future__ import annotations

from collections.abc import Sequence

from taskrunner_docker.payload import BuildSpec
from taskrunner_docker.registry.references import Reference
from taskrunner_source import Provenance

_PREFIX = "org.opencontainers.image"
_NO_VERSION = "latest"


def image_labels(spec: BuildSpec, provenance: Provenance) -> dict[str, str]:
    """Those that can be filled in, below the author's own.

    `created` is the time of the commit and not of the build: two builds of one commit make the same image, with the
    same digest.
    """
    created = provenance.created
    known = {
        f"{_PREFIX}.source": provenance.url,
        f"{_PREFIX}.revision": provenance.revision,
        f"{_PREFIX}.created": created.isoformat().replace("+00:00", "Z") if created else "",
        f"{_PREFIX}.version": _version(spec.tags),
    }
    return {**{name: value for name, value in known.items() if value}, **spec.labels}


def _version(tags: Sequence[str]) -> str:
    """The tag of the first name that has a telling one."""
    return next((tag for name in tags if (tag := Reference.parse(name).tag) not in {"", _NO_VERSION}), "")
