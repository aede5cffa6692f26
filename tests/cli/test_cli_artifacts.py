"""`artifacts`: what was compressed on its way into the store comes out as it was."""

from __future__ import annotations

import json
import tarfile

from tests.support.command_line import CommandLine

COMPRESSED = """
[[artifacts]]
name = "report.txt"
path = "report.txt"
compression = "gzip"

[[artifacts]]
name = "all.tar"
path = "."
archive = true
compression = "zstd"
expires = 3600
"""


def test_compressed_artifacts_are_decompressed_when_they_are_fetched(cli: CommandLine) -> None:
    cli("submit", cli.task("t", "seq 100000 > report.txt; ln -s report.txt link", COMPRESSED))
    cli("run", "--until-empty")
    archive, report = json.loads(cli("artifacts", "t", "--json").out)
    assert (archive["content_encoding"], archive["content_type"]) == ("zstd", "application/x-tar")
    assert (report["content_encoding"], report["content_type"]) == ("gzip", "text/plain")
    assert archive["expires"]
    assert report["size"] < 300_000
    plain = "".join(f"{number}\n" for number in range(1, 100_001))
    assert cli("artifacts", "t", "report.txt").out == plain
    out = cli.folder / "out"
    assert cli("artifacts", "t", "--output", str(out)).status == 0
    assert (out / "report.txt").read_text() == plain
    with tarfile.open(out / "all.tar") as tar:
        assert tar.getmember("link").linkname == "report.txt"
    assert sorted(path.name for path in out.iterdir()) == ["all.tar", "report.txt"]
    _damage(cli)
    damaged = cli("artifacts", "t", "report.txt")
    assert (damaged.out, damaged.status != 0) == ("", True)
    assert "report.txt is damaged" in damaged.err


def test_a_run_without_artifacts_has_nothing_to_print(cli: CommandLine) -> None:
    cli("submit", cli.task("t", "true"))
    cli("run", "--until-empty")
    for arguments in ((), ("--output", str(cli.folder / "out"))):
        nothing = cli("artifacts", "t", *arguments)
        assert (nothing.status, nothing.out, nothing.err) == (1, "", "taskrunner: t has no artifacts\n")
    listed = cli("artifacts", "t", "--json")
    assert (listed.status, listed.out) == (0, "[]\n")


def _damage(cli: CommandLine) -> None:
    [data] = (cli.folder / "home" / "artifacts" / "t" / "0" / "data").glob("*-report.txt")
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)
