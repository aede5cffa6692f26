# ruff: noqa: E501  one line for each row
"""Files of images, read and written anew without Docker: what is refused, and what Docker gets."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tarfile
from pathlib import Path

import pytest

from taskrunner.connections import Connections
from taskrunner.errors import TaskFailed
from taskrunner_docker.images.image_archive import ImageArchive
from tests.support.archives import entry, folder, hard_link, link, tar

CONFIG = b'{"architecture": "amd64"}'
HALF = 33 << 20  # bytes of zeros, less than what is harmless in itself


def manifest(*names: str, config: str = "config.json") -> dict[str, object]:
    return {"Config": config, "RepoTags": list(names), "Layers": ["a/layer.tar"]}


def archive(*members: bytes, document: object = None, layer: bytes = b"layer") -> bytes:
    """A file with one image, and further members."""
    text = json.dumps([manifest("app:1")] if document is None else document).encode()
    image = [folder("a"), entry("a/layer.tar", layer), entry("./config.json", CONFIG), entry("manifest.json", text)]
    return tar(*image, *members)


def rewritten(tmp_path: Path, content: bytes) -> bytes:
    """What Docker gets of it."""
    path = tmp_path / "image.tar"
    path.write_bytes(content)
    with path.open("rb") as file:
        return b"".join(ImageArchive.check(file, Connections()).pieces())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the archive is no tar: write it by `docker save`"),
        (b"<html>" * 200, "the archive is no tar: write it by `docker save`"),
        (archive()[:-1030], "the archive is cut short"),
        (tar(entry("x", b"x")), "the archive has no image: its manifest.json is missing or empty; write it by `docker save`"),
        (archive(document=[]), "the archive has no image: its manifest.json is missing or empty; write it by `docker save`"),
        (archive(document=[manifest(), manifest()]), "the archive has 2 images: save the one that the task runs"),
        (archive(document={"Config": 1}), "the archive is no image: its manifest.json is not as `docker save` writes it"),
        (archive(document=[{**manifest(), "Layers": [7]}]), "the archive is no image: its manifest.json is not as `docker save` writes it"),
        (tar(entry("manifest.json", b"[" * 100_000)), "the archive is no image: its manifest.json is not as `docker save` writes it"),
        (archive(document=[manifest(config="other")]), "the archive is no image: its manifest names a configuration that is not there"),
        (archive(entry("./manifest.json", b"[]")), '"manifest.json" is no single small file'),
        (tar(link("manifest.json", "m"), entry("m", b"[]")), '"manifest.json" is no single small file'),
        (archive(hard_link("b", "a/layer.tar")), '"b" is a hard link, which no image has'),
        (archive(entry("../b", b"x")), '"../b" has a part ".."'),
        (archive(entry("/etc/b", b"x")), '"/etc/b" is an absolute path'),
        (archive(layer=lzma.compress(b"x")), '"a/layer.tar" is compressed by xz: save the image with layers that are compressed by gzip or not at all'),
        (archive(layer=gzip.compress(b"x")[:9] + b"x" * 20), '"a/layer.tar" is damaged: Error -3 while decompressing data: invalid stored block lengths'),
        (archive(layer=gzip.compress(bytes(2 * HALF))), "the archive becomes more than 250 times as large when it is unpacked"),
        (archive(layer=gzip.compress(bytes(HALF)) * 2), "the archive becomes more than 250 times as large when it is unpacked"),
        (gzip.compress(archive(layer=bytes(2 * HALF))), "the archive becomes more than 250 times as large when it is unpacked"),
        (archive(*(folder(f"f{n}") for n in range(10_001))), "the archive has more than 10000 members"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_file_that_is_no_image_is_refused_before_docker_gets_it(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(TaskFailed) as caught:
        rewritten(tmp_path, content)
    assert str(caught.value) == f"unpack: {message}"


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress])
def test_docker_gets_the_image_without_its_names(tmp_path: Path, compress: type[bytes]) -> None:
    names = {"repositories": b'{"postgres": {"16": "a"}}', "index.json": b"{}", "oci-layout": b"{}"}
    lists = [entry(name, content) for name, content in names.items()]
    layer = gzip.compress(b"layer")
    content = archive(link("c", "a/layer.tar"), *lists, document=[manifest("postgres:16")], layer=layer)
    found = {}
    with tarfile.open(fileobj=io.BytesIO(rewritten(tmp_path, compress(content)))) as result:
        for member in result.getmembers():
            file = result.extractfile(member) if member.isfile() else None
            found[member.name] = file.read() if file else member.linkname.encode()
    assert json.loads(found.pop("manifest.json")) == [{**manifest(), "RepoTags": None}]
    assert found == {"a": b"", "a/layer.tar": layer, "config.json": CONFIG, "c": b"a/layer.tar"}
