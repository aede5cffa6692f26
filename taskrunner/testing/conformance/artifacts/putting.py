"""What every artifact store does with artifacts: putting, listing, reading."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from datetime import UTC, datetime

import pytest

from taskrunner.interfaces.artifacts import INDEX_NAME, LOG_NAME
from taskrunner.limits import ARTIFACT_PATTERN
from taskrunner.model import Artifact, RunKey
from taskrunner.testing.conformance.artifacts.harness import RUN, StoreKit, body
from taskrunner.testing.conformance.comparison import assert_same
from taskrunner.testing.conformance.kit import scenario

BAD_NAMES = [
    "", "/", "/etc/passwd", "a//b", "a/", ".", "..", "a/../../b", "./a", "a/.", "a\nb", "a\0b", "\x1b[31m", "x" * 1025
]  # fmt: skip
"""Each of these has an empty part, `.`, `..` or a control character, or is too long."""

SIMILAR_RUNS = [RunKey("a", 1), RunKey("a", 11), RunKey("a-1", 1), RunKey("a.1", 1), RunKey("A", 1), RunKey("a", 10)]
"""Runs whose keys begin alike."""


class PutChecks(StoreKit):
    """Putting, listing and reading."""

    @scenario
    async def test_an_artifact_that_was_put_is_listed_and_read(self) -> None:
        store, whole = self.open(), b"one" + bytes(70_000) + b"two"
        put = await store.put(RUN, "public/report.xml", body(b"one", b"", bytes(70_000), b"two"))
        assert (put.name, put.size, put.sha256) == (
            "public/report.xml",
            len(whole),
            hashlib.sha256(whole).hexdigest(),
        )
        assert put.content_type in {"application/xml", "text/xml"}
        for reader in (store, self.open()):
            await self.assert_lists(reader, RUN, [put])
            assert_same(await self.read(reader, RUN, "public/report.xml"), whole)

    @scenario
    async def test_an_empty_file_is_a_file(self) -> None:
        store = self.open()
        put = await store.put(RUN, "empty", body(), content_type="text/x-nothing")
        assert put == Artifact("empty", 0, hashlib.sha256().hexdigest(), "text/x-nothing")
        await self.assert_lists(store, RUN, [put])
        assert await self.read(store, RUN, "empty") == b""

    @scenario
    async def test_a_content_type_is_kept_as_it_is(self) -> None:
        store = self.open()
        given = await store.put(RUN, "report.html", body(b"x"), content_type="text/plain; charset=utf-8")
        unknown = await store.put(RUN, "zz.unheard-of", body(b"x"))
        assert given.content_type == "text/plain; charset=utf-8"
        assert "/" in unknown.content_type
        await self.assert_lists(store, RUN, [given, unknown])

    @scenario
    async def test_a_content_encoding_is_listed_and_the_bytes_are_kept_as_they_are(self) -> None:
        store, data = self.open(), gzip.compress(b"text")
        put = await store.put(RUN, "report.txt", body(data), content_type="text/plain", content_encoding="gzip")
        plain = await store.put(RUN, "plain.txt", body(b"text"))
        assert (put.content_encoding, put.content_type, put.size) == ("gzip", "text/plain", len(data))
        assert plain.content_encoding == ""
        await self.assert_lists(self.open(), RUN, [plain, put])
        assert await self.read(store, RUN, "report.txt") == data

    @scenario
    async def test_a_size_that_is_said_must_be_true(self) -> None:
        store = self.open()
        before = await store.put(RUN, "kept", body(b"12345"), size=5)
        for size in (0, 4, 6):
            with pytest.raises(ValueError, match="bytes"):
                await store.put(RUN, "kept", body(b"abc", b"de"), size=size)
        await self.assert_lists(store, RUN, [before])
        assert await self.read(store, RUN, "kept") == b"12345"

    @scenario
    async def test_a_time_until_which_a_file_is_kept_is_listed(self) -> None:
        store, until = self.open(), datetime(2100, 1, 31, 12, tzinfo=UTC)
        put = await store.put(RUN, "a", body(b"1"), expires=until)
        assert put.expires == until
        [listed] = await self.open().list(RUN)
        assert listed.expires == until

    @scenario
    async def test_reading_begins_at_an_offset(self) -> None:
        store = self.open()
        await store.put(RUN, "digits", body(b"01234", b"56789"))
        assert [await self.read(store, RUN, "digits", offset) for offset in (0, 7, 10)] == [b"0123456789", b"789", b""]

    @scenario
    async def test_putting_again_replaces(self) -> None:
        store = self.open()
        await store.put(RUN, "a", body(b"a longer first one"), content_type="text/x-first")
        put = await store.put(RUN, "a", body(b"second"), content_type="text/x-second")
        await self.assert_lists(store, RUN, [put])
        assert await self.read(store, RUN, "a") == b"second"

    @scenario
    async def test_a_stale_run_cannot_overwrite_an_artifact_of_a_later_run(self) -> None:
        store, later = self.open(), RunKey(RUN.task_id, 1)
        fresh = await store.put(later, "report", body(b"fresh"))
        stale = await store.put(RUN, "report", body(b"stale"))
        await self.assert_lists(store, later, [fresh])
        await self.assert_lists(store, RUN, [stale])
        assert await self.read(store, later, "report") == b"fresh"

    @scenario
    async def test_a_run_has_its_own_artifacts_alone(self) -> None:
        store = self.open()
        put = {run: await store.put(run, "name", body(str(run).encode())) for run in SIMILAR_RUNS}
        for run in SIMILAR_RUNS:
            await self.assert_lists(store, run, [put[run]])
            assert await self.read(store, run, "name") == str(run).encode()

    @scenario
    async def test_similar_names_are_different_artifacts(self) -> None:
        store = self.open()
        names = ["A", "a", "a.json", "b", "b/c", "b/c/d", "b_c", "ä", "a b", "%2e%2e", "data", "index", "a.part"]
        names += ["x" * 300, "x" * 299 + "y"]
        for name in names:
            await store.put(RUN, name, body(name.encode()))
        assert [artifact.name for artifact in await store.list(RUN)] == sorted(names)
        for name in names:
            assert await self.read(store, RUN, name) == name.encode()

    @scenario
    async def test_many_can_be_put_at_once(self) -> None:
        store = self.open()
        names = [f"part-{number:02}" for number in range(20)]
        await asyncio.gather(*(store.put(RUN, name, body(name.encode(), b"!")) for name in names))
        await asyncio.gather(*(store.put(RUN, "same", body(name.encode())) for name in names))
        assert [artifact.name for artifact in await store.list(RUN)] == [*names, "same"]
        [same] = [artifact for artifact in await store.list(RUN) if artifact.name == "same"]
        contents = await self.read(store, RUN, "same")
        assert same.size == len(contents)
        assert same.sha256 in {None, hashlib.sha256(contents).hexdigest()}

    @scenario
    async def test_a_bad_name_is_refused(self) -> None:
        store = self.open()
        for name in BAD_NAMES:
            assert not re.fullmatch(ARTIFACT_PATTERN, name)
            with pytest.raises(ValueError, match="name"):
                await store.put(RUN, name, body(b"evil"))
            with pytest.raises(ValueError, match="name"):
                await self.read(store, RUN, name)
        assert await store.list(RUN) == []

    @scenario
    async def test_a_missing_artifact_is_not_found(self) -> None:
        store = self.open()
        assert await store.list(RunKey("unknown", 7)) == []
        await store.put(RUN, "a", body(b"a"))
        for name in ("b", "a/b", LOG_NAME, INDEX_NAME):
            with pytest.raises(FileNotFoundError):
                await self.read(store, RUN, name)


__all__ = ["PutChecks"]
