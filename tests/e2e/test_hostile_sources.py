"""Hostile archives and repositories by the installed command: the resolution names the thing, nothing is outside."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.archives import COMPRESS, entry, folder, hard_link, link, tar, zip_info, zipped
from tests.support.e2e import Site
from tests.support.file_server import FileServer, serving
from tests.support.raw_git import RawRepository, serving_raw
from tests.support.raw_git import entry as tree_entry

NOT_ALLOWED = "is not among the paths that this worker allows ([source] archives in its configuration)"

ARCHIVES: dict[str, tuple[bytes, str]] = {
    "goes-up": (tar(entry("a/../../x")), 'unpack: "a/../../x" has a part ".."'),
    "absolute": (tar(entry("/etc/cron.d/x")), 'unpack: "/etc/cron.d/x" is an absolute path'),
    "link-out": (tar(link("a", "../../x")), 'unpack: "a" links to a path outside of the archive'),
    "link-absolute": (tar(link("a", "/etc/passwd")), 'unpack: "a" links to an absolute path'),
    "through-a-link": (
        tar(folder("b"), link("a", "b"), entry("a/x")),
        'unpack: "a/x" is in a folder that the archive has as a symbolic link',
    ),
    "hard-link-out": (tar(hard_link("a", "../x")), 'unpack: "a" links to a path that has a part ".."'),
    "device": (tar(entry("a", kind=tarfile.CHRTYPE, devmajor=1, devminor=3)), 'unpack: "a" is a device'),
    "pipe": (tar(entry("a", kind=tarfile.FIFOTYPE)), 'unpack: "a" is a named pipe'),
    "twice": (tar(entry("a"), entry("a")), 'unpack: "a" is in the archive twice, first as a file'),
    "control": (tar(entry("a\x1b[2Jb")), 'unpack: "a�[2Jb" has a name that has a control character'),
    "bomb": (COMPRESS["gz"](tar(entry("a", bytes(80 << 20)))), "becomes more than 250 times as large"),
    "cut": (COMPRESS["gz"](tar(entry("a")))[:-9], "unpack: the archive is cut short"),
    "empty": (b"", "unpack: the archive is empty"),
    "web-page": (b"<!DOCTYPE html><html></html>" * 30, "unpack: the archive is a web page, not a tar"),
    "zip-goes-up": (zipped((zip_info("../x"), b"")), 'unpack: "../x" has a part ".."'),
    "zip-link-out": (zipped((zip_info("a", 0o120777), b"../x")), 'unpack: "a" links to a path outside'),
    "tmp": (tar(entry(".tmp")), "source: it has a file .tmp, which is the run's folder for temporary files"),
}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving() as running:
        yield running


def ended(site: Site, sources: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Runs a task with each of these sources. The resolution and message of each."""
    for name, source in sources.items():
        site.submit({**site.process("true"), "id": name, "source": source})
    site.run_worker("--capacity", "4")
    found = {}
    for name in sources:
        resolution = site.status(name).runs[-1].resolution
        assert resolution
        found[name] = (str(resolution), resolution.message)
    return found


def test_each_archive_is_refused_by_the_name_of_its_member(site: Site, server: FileServer) -> None:
    site.configure(f'[source]\narchives = ["{site.folder}/archives"]\n')
    place = site.folder / "archives"
    place.mkdir()
    for name, (data, _) in ARCHIVES.items():
        (place / name).write_bytes(data)
    before = sorted(site.folder.glob("*"))
    found = ended(site, {name: {"archive": str(place / name)} for name in ARCHIVES})
    for name, (_, problem) in ARCHIVES.items():
        assert found[name][0] == "failed (source-refused)", name
        assert problem in found[name][1]
    assert [path for path in sorted(site.folder.glob("*")) if path != site.home] == before
    assert site.leftovers() == []
    assert not list((site.home / "runs").glob("*/0/work"))


def test_each_download_is_refused_by_its_address(site: Site, server: FileServer) -> None:
    at = f"http://127.0.0.1:{server.port}"
    good = tar(entry("a"))

    def answer(asked: Any) -> None:
        match asked.path.strip("/"):
            case "private":
                asked.send(403)
            case "loop":
                asked.send(302, Location=f"{at}/loop")
            case "elsewhere":
                asked.send(302, Location="file:///etc/passwd")
            case "good" | "changed":
                asked.send(200, good)
            case _:
                asked.send(404)

    server.answers = [answer]
    sha256 = hashlib.sha256(good).hexdigest()
    sources = {name: {"archive": f"{at}/{name}"} for name in ("missing", "private", "loop", "elsewhere")}
    sources["changed"] = {"archive": f"{at}/changed", "sha256": "0" * 64}
    sources["not-allowed"] = {"archive": "/etc/passwd"}
    found = ended(site, {**sources, "good": {"archive": f"{at}/good", "sha256": sha256}})
    assert found.pop("good")[0] == "completed"
    assert found == {
        "missing": ("failed (download-failed)", f"download: {at}/missing was not found (status 404)"),
        "private": (
            "failed (download-failed)",
            f"download: {at}/private needs credentials, and none were sent (status 403)",
        ),
        "loop": (
            "failed (download-failed)",
            f"download: {at}/loop is behind more than 10 redirects: do they go in a circle?",
        ),
        "elsewhere": (
            "failed (download-failed)",
            f"download: {at}/elsewhere redirects to something that is no http:// or https:// URL",
        ),
        "changed": ("failed (download-failed)", f"download: {at}/changed has the sha256 {sha256}, and not {'0' * 64}"),
        "not-allowed": (
            "failed (source-refused)",
            f'source: "/etc/passwd" {NOT_ALLOWED}',
        ),
    }


def test_each_repository_is_refused_by_what_is_wrong_in_it(site: Site) -> None:
    raws = {name: RawRepository() for name in ("name", "mode", "link", "url")}
    for name, raw in raws.items():
        file, missing = raw.blob(b"a\0b"), bytes.fromhex("dead" * 10)
        modules = raw.blob(b'[submodule "lib"]\n\tpath = lib\n\turl = "http://host/\xff"\n')
        entries = {
            "name": [tree_entry(b"100644", b"..", file)],
            "mode": [tree_entry(b"100644100644100", b"file", file)],
            "link": [tree_entry(b"120000", b"\xfflink", file)],
            "url": [tree_entry(b"100644", b".gitmodules", modules), tree_entry(b"160000", b"lib", missing)],
        }
        raw.commit(raw.tree(*entries[name]))
    with serving_raw(raws) as at:
        found = ended(site, {name: {"repository": f"{at}{name}"} for name in raws})
    problems = {
        "name": "forbidden name '..'",
        "mode": "a folder has something of an unknown type in it",
        "link": "the symbolic link �link has a zero byte in it",
        "url": "submodule lib: the URL of the repository is not UTF-8",
    }
    for name, problem in problems.items():
        assert found[name][0] == "failed (clone-failed)"
        assert problem in found[name][1]
    assert site.leftovers() == []
