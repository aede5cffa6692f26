"""The labels that say where an image is from; no Docker."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskrunner.model import Source
from taskrunner_docker import BuildSpec
from taskrunner_docker.build.labels import image_labels
from taskrunner_source import Provenance
from taskrunner_source.archive_origin import public_url

COMMIT = Provenance("https://git.example/team/web.git", "a" * 40, datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC))


def labels(spec: BuildSpec, provenance: Provenance = COMMIT) -> dict[str, str]:
    return {
        name.removeprefix("org.opencontainers.image."): value for name, value in image_labels(spec, provenance).items()
    }


def test_all_that_is_known_is_filled_in() -> None:
    assert labels(BuildSpec(tags=("web", "web:latest", "registry.example:5000/web:1.2", "web:1"))) == {
        "source": "https://git.example/team/web.git",
        "revision": "a" * 40,
        "created": "2024-05-06T07:08:09Z",
        "version": "1.2",
    }


def test_what_is_not_known_is_left_out() -> None:
    assert labels(BuildSpec(tags=("web",)), Provenance()) == {}


def test_the_authors_own_labels_win() -> None:
    own = {"org.opencontainers.image.version": "", "org.opencontainers.image.source": "x", "team": "web"}
    found = image_labels(BuildSpec(labels=own, tags=("web:1",)), COMMIT)
    assert {name: found[name] for name in own} == own
    assert found["org.opencontainers.image.revision"] == COMMIT.revision


@pytest.mark.parametrize(
    ("archive", "url"),
    [
        ("https://user:s3cret@files.example/web.tar.gz?sig=s3cret#top", "https://files.example/web.tar.gz"),
        ("https://s3cret@files.example:8443/a%20b.zip", "https://files.example:8443/a%20b.zip"),
        ("/srv/archives/web.tar.gz", ""),
    ],
)
def test_the_url_of_an_archive_has_no_credentials_and_no_path_of_the_machine(archive: str, url: str) -> None:
    assert public_url(Source(archive=archive)) == url
