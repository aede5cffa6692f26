"""Every kind of hostile content of a repository, with its message: a fault of its author or server, not of the worker.

Each is served as it is by a server that looks at nothing, and taken both ways: as a checkout, and as a tree to be read.
"""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from taskrunner.errors import TaskFailed, Unavailable
from taskrunner.model import Source
from taskrunner_source import fetch_source
from tests.support.raw_git import (
    BLOB,
    COMMIT,
    REF_DELTA,
    TAG,
    TREE,
    RawRepository,
    entry,
    object_id,
    pack_of,
    packed,
    serving_raw,
)
from tests.support.source_run import SourceRun

MISSING = bytes.fromhex("dead" * 10)
Make = Callable[[RawRepository], object]


def tree(*entries: tuple[bytes, bytes]) -> Make:
    """A commit with files of these modes and names."""
    return lambda raw: raw.commit(raw.tree(*(entry(mode, name, raw.blob(name)) for mode, name in entries)))


def named(name: bytes) -> Make:
    return tree((b"100644", name))


def mode(text: bytes) -> Make:
    return tree((text, b"file"))


def below(name: bytes) -> Make:
    """The name in a folder."""
    return lambda raw: raw.commit(raw.tree(entry(b"40000", b"a", raw.tree(entry(b"100644", name, raw.blob())))))


def link(target: bytes, name: bytes = b"link") -> Make:
    return lambda raw: raw.commit(raw.tree(entry(b"120000", name, raw.blob(target))))


def to(kind: bytes, make: Callable[[RawRepository], bytes]) -> Make:
    """A line of a tree that names an object of another kind."""
    return lambda raw: raw.commit(raw.tree(entry(kind, b"file", make(raw))))


def submodule(text: bytes, *, path: bytes = b"lib", sha: bytes = MISSING) -> Make:
    """A commit with a submodule and these lines about it."""
    modules = b'[submodule "lib"]\n' + text
    return lambda raw: raw.commit(
        raw.tree(entry(b"100644", b".gitmodules", raw.blob(modules)), entry(b"160000", path, sha))
    )


def url(text: bytes) -> Make:
    return submodule(b"\tpath = lib\n\turl = " + text + b"\n")


def commit_data(data: bytes) -> Make:
    return lambda raw: raw.point_to(raw.add(COMMIT, data))


def pack(make: Callable[[RawRepository], bytes]) -> Make:
    """A good commit, and another pack than that of its objects."""

    def made(raw: RawRepository) -> None:
        named(b"file")(raw)
        raw.pack = make(raw)

    return made


def delta(*instructions: bytes, size: int, base: bytes = b"x" * 100) -> Make:
    """A blob as a delta of another."""

    def made(raw: RawRepository) -> None:
        sha = raw.blob(base)
        raw.objects.append(packed(REF_DELTA, varint(len(base)) + varint(size) + b"".join(instructions), base=sha))
        raw.commit(raw.tree(entry(b"100644", b"file", MISSING)))

    return made


def varint(number: int) -> bytes:
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def refs(*lines: tuple[bytes, bytes], symrefs: bytes = b"") -> Make:
    def made(raw: RawRepository) -> None:
        named(b"file")(raw)
        sha = raw.refs[0][1]
        raw.refs = [(name, text.replace(b"GOOD", sha)) for name, text in lines]
        raw.symrefs = symrefs

    return made


def tags_of_tags(raw: RawRepository) -> None:
    named(b"file")(raw)
    sha, kind = bytes.fromhex(raw.refs[0][1].decode()), b"commit"
    for _ in range(20):
        text = b"object " + sha.hex().encode() + b"\ntype " + kind + b"\ntag t\ntagger x <x> 1 +0000\n\nx\n"
        sha, kind = raw.add(TAG, text), b"tag"
    raw.point_to(sha)


FORBIDDEN = "the commit has a file or folder with the forbidden name"
LEAVES = "leads out of"
TWICE = "two files or folders of the commit have the name 'a'"
STRANGE = "a folder has something of an unknown type in it"

NAMES: dict[str, tuple[Make, str]] = {
    "a name that goes up": (named(b".."), f"{FORBIDDEN} '..'"),
    "a name that stays": (named(b"."), f"{FORBIDDEN} '.'"),
    "a name with slashes": (named(b"a/../../../x"), f"{FORBIDDEN} 'a/../../../x'"),
    "an absolute name": (named(b"/tmp/x"), f"{FORBIDDEN} '/tmp/x'"),
    "no name": (named(b""), f"{FORBIDDEN} ''"),
    ".git": (named(b".git"), f"{FORBIDDEN} '.git'"),
    ".git in another case": (named(b".GiT"), f"{FORBIDDEN} '.GiT'"),
    ".git as a link": (link(b"/tmp", b".Git"), f"{FORBIDDEN} '.Git'"),
    ".git as a submodule": (submodule(b"\tpath = .git\n\turl = ../x\n", path=b".git"), f"{FORBIDDEN} '.git'"),
    ".git in a folder": (below(b".git"), f"{FORBIDDEN} '.git'"),
    ".git for Windows by its short name": (named(b"GIT~1"), f"{FORBIDDEN} 'GIT~1'"),
    ".git for Windows with a dot": (named(b".git. ."), f"{FORBIDDEN} '.git. .'"),
    ".git for Windows as a stream": (named(b".git::$INDEX_ALLOCATION"), FORBIDDEN),
    ".git for Windows behind a backslash": (named(b"a\\.git\\config"), f"{FORBIDDEN} 'a\\\\.git\\\\config'"),
    ".git for macOS": (named(".g\u200cit".encode()), "that macOS takes for .git"),
    "a file name of 300 bytes": (named(b"n" * 300), "has a name of more than 255 bytes"),
    "a path of 5,000 bytes": (
        lambda raw: raw.commit(nested(raw, b"n" * 200, 25)),
        "has a path of more than 4095 bytes",
    ),
    "500 folders in each other": (lambda raw: raw.commit(nested(raw, b"d", 500)), "folders more than 128 deep"),
    "a name twice": (tree((b"100644", b"a"), (b"100755", b"a")), TWICE),
    "a name twice, out of order": (tree((b"100644", b"a"), (b"100644", b"b"), (b"100644", b"a")), TWICE),
    "a link and a folder of one name": (
        lambda raw: raw.commit(
            raw.tree(
                entry(b"120000", b"a", raw.blob(b"/tmp")),
                entry(b"40000", b"a", raw.tree(entry(b"100644", b"x", raw.blob()))),
            )
        ),
        TWICE,
    ),
}

CONTENT: dict[str, tuple[Make, str]] = {
    "a mode of 15 digits": (mode(b"100644100644100"), STRANGE),
    "a mode that is no number": (mode(b"rwxr-xr-x"), STRANGE),
    "a mode with a sign": (mode(b"-100644"), STRANGE),
    "a mode with an underscore": (mode(b"100_644"), STRANGE),
    "an empty mode": (mode(b""), STRANGE),
    "a mode of nothing": (mode(b"0"), STRANGE),
    "a device": (mode(b"60660"), STRANGE),
    "a named pipe": (mode(b"10644"), STRANGE),
    "a socket": (mode(b"140755"), STRANGE),
    "half a line": (lambda raw: raw.commit(raw.tree(b"100644 file\0" + bytes(10))), "a folder is damaged"),
    "a line without a zero": (lambda raw: raw.commit(raw.tree(b"100644 file" + b"x" * 30)), "a folder is damaged"),
    "a link with a zero in it": (link(b"a\0b"), "the symbolic link link has a zero byte in it"),
    "a link to nothing": (link(b""), "the symbolic link link is empty"),
    "a link of 5,000 bytes": (link(b"x" * 5000), "the symbolic link link is longer than a path may be"),
    "a file that is not there": (to(b"100644", lambda _: MISSING), f"the object {MISSING.hex()} is missing"),
    "a folder that is not there": (to(b"40000", lambda _: MISSING), f"the object {MISSING.hex()} is missing"),
    "a file that is a folder": (to(b"100644", lambda raw: raw.tree()), "is missing"),
    "a folder that is a file": (to(b"40000", lambda raw: raw.blob()), "is missing"),
    "a link that is a folder": (to(b"120000", lambda raw: raw.tree()), "is missing"),
    "another content than the id says": (
        pack(lambda raw: pack_of(*raw.objects[1:], packed(BLOB, b"another"))),
        f"the object {object_id(BLOB, b'file').hex()} is missing",
    ),
    "a commit without a tree": (commit_data(b"author x <x> 1 +0000\n\nx"), "a commit or tag is damaged"),
    "an empty commit object": (commit_data(b""), "a commit or tag is damaged"),
    "a commit whose tree is a file": (lambda raw: raw.commit(raw.blob()), "is no folder"),
    "a commit whose tree is not there": (lambda raw: raw.commit(MISSING), f"the object {MISSING.hex()} is missing"),
    "a tree in the place of a commit": (
        lambda raw: raw.point_to(raw.tree(entry(b"100644", b"x", raw.blob()))),
        "the tag or id does not mean a commit",
    ),
    "tags of tags of tags": (tags_of_tags, "the tag or id does not mean a commit"),
    "a tag of nothing": (lambda raw: raw.point_to(raw.add(TAG, b"junk")), "a commit or tag is damaged"),
    ".gitattributes that name an unknown encoding": (
        lambda raw: raw.commit(
            raw.tree(
                entry(b"100644", b".gitattributes", raw.blob(b"file working-tree-encoding=utf-7\n")),
                entry(b"100644", b"file", raw.blob()),
            )
        ),
        "file: ",
    ),
}

SUBMODULES: dict[str, tuple[Make, str]] = {
    "an option as a URL": (url(b"--upload-pack=touch /tmp/x"), "begins with `-`"),
    "a short option as a URL": (url(b"-ux"), "begins with `-`"),
    "a transport program": (url(b"ext::sh -c id"), "a space or control character"),
    "a transport program without a space": (url(b"ext::id"), "names a transport program"),
    "another transport program": (url(b"fd::7"), "names a transport program"),
    "a local path": (url(b"/etc"), "is a path on the worker's machine, which"),
    "a local URL": (url(b"file:///etc"), "is a path on the worker's machine, which"),
    "an ssh host that is an option": (url(b"ssh://-oProxyCommand=id/x"), "has no host"),
    "an ssh user that is an option": (url(b"ssh://-oProxyCommand=id@host/x"), "begins with `-`"),
    "an ssh path that is an option": (url(b"host:-oProxyCommand=id"), "begins with `-`"),
    "an ssh host that is an option, the short way": (url(b"-oProxyCommand=id:x"), "begins with `-`"),
    "a URL with a line break": (url(b'"http://host/x\\ny"'), "a space or control character"),
    "a URL that is not UTF-8": (url(b"http://host/\xff"), "is not UTF-8"),
    "a URL that goes up too far": (url(b"../../../../x"), LEAVES),
    "a URL of an unknown kind": (url(b"gopher://host/x"), "gopher:// is not supported"),
    "itself": (url(b"./"), f"the object {MISSING.hex()} is missing"),
    "no such repository": (url(b"../nothing"), "/nothing was not found"),
    "no such commit": (url(b"../other"), f"the object {MISSING.hex()} is missing"),
    ".gitmodules that is no text": (
        lambda raw: raw.commit(raw.tree(entry(b"100644", b".gitmodules", raw.blob(b"\0\xff[[[")))),
        ".gitmodules is not well formed, or too large",
    ),
    ".gitmodules of 2 MB": (
        lambda raw: raw.commit(raw.tree(entry(b"100644", b".gitmodules", raw.blob(b"#\n" * 1_000_000)))),
        ".gitmodules is not well formed, or too large",
    ),
    ".gitmodules that is a link": (link(b"/etc/passwd", b".gitmodules"), "the file .gitmodules is a symbolic link"),
}

REFS: dict[str, tuple[Make, str]] = {
    "no HEAD": (refs((b"refs/heads/dev", b"GOOD")), "has no default branch: name one of dev"),
    "no refs": (refs(), "is empty: it has no commits yet"),
    "a HEAD that is not there": (refs((b"HEAD", MISSING.hex().encode())), f"the object {MISSING.hex()} is missing"),
    "an id that is none": (refs((b"HEAD", b"x" * 40)), "refused"),
    "an id that is too short": (refs((b"HEAD", b"abc")), "lists a ref with the id 'abc', which is none"),
    "an id of SHA-256": (refs((b"HEAD", b"a" * 64)), "by SHA-256, which is not supported"),
    "names with control characters": (
        refs((b"refs/heads/a\x1b[2J\x07b", b"GOOD")),
        "has no default branch: name one of a [2J b",
    ),
}

PACKS: dict[str, tuple[Make, str]] = {
    "cut short": (pack(lambda raw: pack_of(*raw.objects)[:-30]), "the pack did not arrive whole"),
    "a wrong checksum": (pack(lambda raw: pack_of(*raw.objects)[:-1] + b"x"), "the pack did not arrive whole"),
    "no pack": (pack(lambda _: b"<html>" + bytes(50)), "this is no pack"),
    "more objects than it says": (
        pack(lambda raw: pack_of(*raw.objects, count=1)),
        "the pack is longer than it claims",
    ),
    "fewer objects than it says": (pack(lambda raw: pack_of(*raw.objects, count=99)), "cannot be inflated"),
    "a billion objects": (
        pack(lambda raw: pack_of(*raw.objects, count=(1 << 32) - 1)),
        "the pack ends within an object",
    ),
    "an object of an unknown kind": (pack(lambda raw: pack_of(*raw.objects, packed(5, b"x"))), "of an unknown type"),
    "an object that claims a terabyte": (
        pack(lambda raw: pack_of(*raw.objects, packed(BLOB, b"x", size=1 << 40))),
        "an object is smaller than it claims",
    ),
    "a folder that claims a terabyte": (
        pack(lambda raw: pack_of(*raw.objects, packed(TREE, b"x", size=1 << 40))),
        "`object_memory` in [source.limits]",
    ),
    "an object of zeros that claims one byte": (
        pack(lambda raw: pack_of(*raw.objects, packed(BLOB, bytes(50_000_000), size=1))),
        "an object is larger than it claims",
    ),
    "an object that cannot be inflated": (
        pack(lambda raw: pack_of(*raw.objects, b"\x31" + b"not zlib")),
        "an object cannot be inflated",
    ),
    "only the commit": (pack(lambda raw: pack_of(raw.objects[-1])), "is missing"),
    "a delta without its base": (
        pack(lambda raw: pack_of(*raw.objects, packed(REF_DELTA, b"\1\1\1x", base=MISSING))),
        "the pack lacks the base of a delta",
    ),
    "deltas that need each other": (
        pack(
            lambda raw: pack_of(
                *raw.objects,
                packed(REF_DELTA, b"\1\1\1x", base=object_id(BLOB, b"y")),
                packed(REF_DELTA, b"\1\1\1y", base=object_id(BLOB, b"x")),
            )
        ),
        "the pack lacks the base of a delta",
    ),
    "a delta that makes gigabytes of a few bytes": (
        delta(*[b"\xff\0\0\0\0\x64\0\0"] * 1000, size=1 << 33),
        "`object_memory` in [source.limits]",
    ),
    "a delta that copies what is not there": (delta(b"\x91\xff\x05", size=5), "a delta"),
    "a delta that makes less than it says": (delta(b"\x90\x05", size=50), "a delta"),
    "a delta that copies more than its base has": (delta(b"\x90\x05", size=5, base=b"z" * 3), "a delta"),
    "a delta that is no delta": (delta(b"\0" * 10, size=5), "a delta"),
}

HOSTILE = {"name: " + name: case for name, case in NAMES.items()}
HOSTILE |= {"content: " + name: case for name, case in CONTENT.items()}
HOSTILE |= {"submodule: " + name: case for name, case in SUBMODULES.items()}
HOSTILE |= {"refs: " + name: case for name, case in REFS.items()}
HOSTILE |= {"pack: " + name: case for name, case in PACKS.items()}


def nested(raw: RawRepository, name: bytes, depth: int) -> bytes:
    sha = raw.tree(entry(b"100644", b"file", raw.blob()))
    for _ in range(depth):
        sha = raw.tree(entry(b"40000", name, sha))
    return sha


@attrs.frozen
class Site:
    """A run, and a server with one repository that it may take."""

    run: SourceRun
    url: str
    raw: RawRepository
    above: Path
    """The folder that everything is in: nothing may appear beside what belongs there."""

    def outcomes(self) -> list[str]:
        """The reason and the message of a checkout, and of a tree that is read."""
        return [self._outcome(self._check_out), self._outcome(self._read)]

    def _outcome(self, take: Callable[[], object]) -> str:
        before = listing(self.above, self.run.home)
        try:
            take()
        except TaskFailed as error:
            return f"{error.reason}: {error.message}"
        except Unavailable as error:
            return f"unavailable: {error.message}"
        finally:
            assert self.run.caches.leased == []
            assert listing(self.above, self.run.home) == before
        return "taken"

    def _check_out(self) -> None:
        self.run.checkout(Source(self.url))

    def _read(self) -> None:
        async def scene() -> None:
            source = await fetch_source(self.run.context(Source(self.url)))
            try:
                files = await source.files(".")
                for each in files.entries():
                    if stat.S_ISREG(each.mode):
                        assert sum(map(len, files.read(each.path))) == each.size
            finally:
                await source.release()

        asyncio.run(scene())


def listing(folder: Path, but: Path) -> set[Path]:
    """Everything below a folder, but for what is in another one."""
    found = set(folder.iterdir())
    for path in list(found):
        if path.is_dir() and path != but:
            found |= listing(path, but)
    return found


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    raw, other = RawRepository(), RawRepository()
    named(b"file")(other)
    (tmp_path / "a/b/home").mkdir(parents=True)
    with serving_raw({"bad": raw, "other": other}) as at:
        yield Site(SourceRun(tmp_path / "a/b/home"), f"{at}bad", raw, tmp_path)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_repository_is_told_as_such(site: Site, name: str) -> None:
    make, problem = HOSTILE[name]
    make(site.raw)
    for outcome in site.outcomes():
        assert outcome.startswith(("clone-failed: clone: ", "unavailable: clone: "))
        assert problem in outcome


TAKEN: dict[str, tuple[Make, dict[str, str]]] = {
    "out of order": (tree((b"100644", b"b"), (b"100644", b"a")), {"a": "-rw-r--r--", "b": "-rw-r--r--"}),
    "a mode with a zero in front": (mode(b"0100644"), {"file": "-rw-r--r--"}),
    "a mode that gives rights": (mode(b"106777"), {"file": "-rwxr-xr-x"}),
    "a mode of old versions": (mode(b"100664"), {"file": "-rw-r--r--"}),
    "names of any bytes": (
        tree((b"100644", b"\xff\n\x1b[2J"), (b"100644", b"a\\b")),
        {"\udcff\n\x1b[2J": "-rw-r--r--", "a\\b": "-rw-r--r--"},
    ),
    "a link that leads out": (link(b"../../../../etc/passwd"), {"link": "lrwxrwxrwx"}),
    "a link of any bytes": (link(b"\xff\n"), {"link": "lrwxrwxrwx"}),
    "a link to itself": (link(b"link"), {"link": "lrwxrwxrwx"}),
    "a submodule without .gitmodules": (
        lambda raw: raw.commit(raw.tree(entry(b"160000", b"lib", MISSING))),
        {"lib": "drwxr-xr-x"},
    ),
    "a submodule whose path is not UTF-8": (
        lambda raw: raw.commit(raw.tree(entry(b"160000", b"\xff", MISSING))),
        {"\udcff": "drwxr-xr-x"},
    ),
    "a submodule at a path that is not its own": (
        submodule(b"\tpath = ../../x\n\turl = ../other\n"),
        {".gitmodules": "-rw-r--r--", "lib": "drwxr-xr-x"},
    ),
    "a commit of the year 10^30": (
        lambda raw: raw.commit(raw.tree(entry(b"100644", b"file", raw.blob())), who=b"A <a> 1" + b"0" * 30 + b" +0000"),
        {"file": "-rw-r--r--"},
    ),
    "a commit of no time": (
        lambda raw: raw.commit(raw.tree(entry(b"100644", b"file", raw.blob())), who=b"\xff\n\n"),
        {"file": "-rw-r--r--"},
    ),
    "an empty tree": (lambda raw: raw.commit(raw.tree()), {}),
}


@pytest.mark.parametrize("name", TAKEN)
def test_what_git_takes_is_taken(site: Site, name: str) -> None:
    make, files = TAKEN[name]
    make(site.raw)
    assert site.outcomes() == ["taken", "taken"]
    found = {
        str(path.relative_to(site.run.home / "run1")): stat.filemode(path.lstat().st_mode)
        for path in (site.run.home / "run1").rglob("*")
        if ".git" not in path.relative_to(site.run.home / "run1").parts
    }
    assert found == files
