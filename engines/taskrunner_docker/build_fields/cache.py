"""Caches of a build in a registry. Docker's `/build` takes from a registry the ones that are part of an image, and
makes no others: of BuildKit's exporters, it passes on `inline` alone (tried with 20.10, and read in one recent
`builder-next/builder.go` of moby)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from taskrunner.errors import Complaint
from taskrunner_docker.registry.references import Reference

INLINE = "inline"
MAX_CACHES = 32
"""Each is asked for at its registry, one after the other."""


def from_complaints(images: Sequence[str]) -> Iterator[Complaint]:
    """The mistakes in `cache_from`."""
    for number, image in enumerate(images):
        yield from _image_complaints(f"build.cache_from[{number}]", image)
    if len(images) > MAX_CACHES:
        yield Complaint("build.cache_from", f"has more than {MAX_CACHES} images", "name the one or two that are alike")


def to_complaints(kind: str, *, push: bool) -> Iterator[Complaint]:
    """The mistakes in `cache_to`."""
    if not kind:
        return
    if kind != INLINE:
        problem = f"{kind!r} is a cache that Docker's API does not write: it writes `inline`, into the image itself"
        yield Complaint(
            "build.cache_to", problem, 'write "inline", and name the pushed image in `cache_from` of later builds'
        )
    elif not push:
        yield Complaint(
            "build.cache_to", "is of no use without `push`", "it is a part of the image: push that, or leave it out"
        )


def _image_complaints(where: str, image: str) -> Iterator[Complaint]:
    if "=" in image or "," in image:
        problem = f"{image!r} names a kind of cache, and Docker's API takes images alone"
        yield Complaint(where, problem, 'name an image that was built with cache_to = "inline"')
        return
    try:
        Reference.parse(image)
    except ValueError as error:
        yield Complaint(where, f"{image!r} is no image name: {error}", "write it as registry.example/team/app:main")
