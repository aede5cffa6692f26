"""Builds on the real daemon: images, logs, and the errors that an author reads."""

from __future__ import annotations

import hashlib
import re
from typing import Any

import pytest

from taskrunner.errors import TaskFailedInternally, Unavailable
from taskrunner.testing import MemoryLog
from tests.docker.buildkit.conftest import Builder


def test_image_has_the_files_labels_and_tags(builder: Builder) -> None:
    tag = f"bk-{builder.label}:1"
    outcome = builder.build("FROM BASE\nCOPY . /src", {"a/b.txt": b"hello"}, tags=[tag], labels={"who": "me"})
    assert outcome.error == ""
    assert outcome.failed_step == ""
    assert builder.output(outcome, "cat", "/src/a/b.txt") == "hello"
    image = builder.client.images.get(tag)
    assert image.id == outcome.image_id
    assert image.labels["who"] == "me"


def test_links_arrive_and_are_followed(builder: Builder) -> None:
    files = {"real/x.txt": b"x", "other/y.txt": b"y"}
    outcome = builder.build("FROM BASE\nCOPY link/x.txt *.none other/*.txt /src/", files, links={"link": "real"})
    assert builder.output(outcome, "sh", "-c", "cat /src/*") == "xy"


def test_names_that_are_not_utf8_arrive(builder: Builder) -> None:
    outcome = builder.build("FROM BASE\nCOPY src /src", {"src/caf\udce9": b"x", "src/\u00fc": b"y"})
    listing = builder.output(outcome, "sh", "-c", "cd /src; for f in *; do echo -n $f | od -An -tx1; done")
    assert sorted(listing.split("\n")) == ["", " 63 61 66 e9", " c3 bc"]


def test_image_without_a_name_has_its_id(builder: Builder) -> None:
    outcome = builder.build("FROM BASE\nRUN true")
    assert builder.client.images.get(outcome.image_id).tags == []


def test_target_stops_at_its_stage(builder: Builder) -> None:
    dockerfile = "FROM BASE AS first\nRUN echo one >/stage\nFROM first\nRUN echo two >/stage"
    assert builder.output(builder.build(dockerfile, target="first"), "cat", "/stage") == "one\n"
    assert builder.output(builder.build(dockerfile), "cat", "/stage") == "two\n"


def test_build_args_reach_the_build(builder: Builder) -> None:
    outcome = builder.build("FROM BASE\nARG WHO=nobody\nRUN echo $WHO >/who", build_args={"WHO": "bob & co"})
    assert builder.output(outcome, "cat", "/who") == "bob & co\n"


def test_dockerfile_below_the_root_with_its_own_ignore_file(builder: Builder) -> None:
    files = {
        "docker/my.Dockerfile": b"FROM taskrunner-base\nCOPY . /src",
        "docker/my.Dockerfile.dockerignore": b"*.secret\n",
        ".dockerignore": b"keep.txt\n",
        "keep.txt": b"",
        "a.secret": b"",
    }
    outcome = builder.build("BROKEN", files, dockerfile="docker/my.Dockerfile")
    assert builder.output(outcome, "sh", "-c", "cd /src; ls *.txt *.secret 2>/dev/null || true") == "keep.txt\n"


def test_dockerignore_is_respected(builder: Builder) -> None:
    files = {".dockerignore": b"*.log\nlogs\n!logs/keep\n", "a.log": b"", "b.txt": b"", "logs/x": b"", "logs/keep": b""}
    outcome = builder.build("FROM BASE\nCOPY . /src", files)
    listing = builder.output(outcome, "sh", "-c", "cd /src; find . -type f | sort").split()
    assert listing == ["./.dockerignore", "./Dockerfile", "./b.txt", "./logs/keep"]


def test_log_has_the_number_and_the_end_of_each_step(builder: Builder) -> None:
    dockerfile = f"FROM BASE\nRUN echo {builder.label}; printf unterminated\n"
    builder.build(dockerfile)
    step = re.search(r"^#(\d+) \[2/2\] RUN echo", builder.log, re.MULTILINE)
    assert step, builder.log
    assert re.search(rf"^#{step[1]} \d+\.\d\d\d {builder.label}$", builder.log, re.MULTILINE)
    assert re.search(rf"^#{step[1]} \d+\.\d\d\d unterminated$", builder.log, re.MULTILINE)
    assert re.search(rf"^#{step[1]} DONE \d+\.\ds$", builder.log, re.MULTILINE)
    builder.written = MemoryLog()
    builder.build(dockerfile)
    assert re.search(r"^#\d+ CACHED$", builder.log, re.MULTILINE)


def test_output_that_docker_leaves_out_is_said_to_be_and_why(builder: Builder) -> None:
    """Docker 20.10 takes 200 KiB a second, and newer ones 2 MiB of a step."""
    outcome = builder.build(f"FROM BASE\nRUN yes {builder.label} | head -c 4000000")
    assert outcome.error == ""
    assert re.search(
        r"^#\d+ .*\[output clipped, log limit \d+[KM]iB(/s)? reached\]\n"
        r"#\d+ WARNING: Docker leaves out a part of this step's output: write less, or let the operator set"
        r" BUILDKIT_STEP_LOG_MAX_(SIZE|SPEED)=-1 in the environment of dockerd$",
        builder.log,
        re.MULTILINE,
    )


def test_progress_counts_steps(builder: Builder) -> None:
    builder.build(f"FROM BASE\nRUN echo {builder.label}")
    assert builder.progress[-1].done == builder.progress[-1].total > 3
    assert {p.unit for p in builder.progress} == {"steps"}
    assert any("RUN echo" in p.note for p in builder.progress)
    assert [p.done for p in builder.progress] == sorted(p.done for p in builder.progress)


def test_failing_command_names_its_step_and_exit_code(builder: Builder) -> None:
    outcome = builder.build("FROM BASE\nRUN echo oh no; exit 5")
    assert outcome.image_id is None
    assert (outcome.failed_step, outcome.error, outcome.exit_code) == (
        "[2/2] RUN echo oh no; exit 5",
        "exit code: 5",
        5,
    )
    assert " oh no\n" in builder.log
    assert "ERROR: " in builder.log


def test_killed_command_has_a_hint(builder: Builder) -> None:
    outcome = builder.build("FROM BASE\nRUN sh -c 'kill -9 $$'; exit $?")
    assert outcome.exit_code == 137
    assert "out of memory" in outcome.error


@pytest.mark.parametrize(
    ("dockerfile", "options", "error"),
    [
        ("FROM BASE\nBOGUS", {}, r"^dockerfile parse error line 2: unknown instruction: BOGUS$"),
        ("", {}, r"^the Dockerfile cannot be empty$"),
        ("FROM BASE", {"target": "nope"}, r"^target stage nope could not be found$"),
        ("FROM BASE", {"dockerfile": "x/nope"}, r"^there is no file x/nope in the build context to build from$"),
        ("FROM BASE\nCOPY nope /", {}, r"^/nope is not in the build context"),
        ("FROM BASE AS a\nFROM a\nCOPY --from=a /nope /", {}, r"^/nope is not in the stage"),
        ("FROM BASE\nCOPY x /", {"files": {".dockerignore": b"[a\n"}}, r"^\.dockerignore: the pattern '\[a'"),
        ("FROM BASE\nRUN --mount=type=secret,id=s,required=true true", {}, r"^secret s not found"),
    ],
)
def test_error_is_explained_in_words(builder: Builder, dockerfile: str, options: dict[str, Any], error: str) -> None:
    outcome = builder.build(dockerfile, **options)
    assert outcome.image_id is None
    assert re.search(error, outcome.error), outcome
    assert outcome.exit_code is None


def test_an_unreachable_registry_of_a_base_image_is_no_fault_of_the_build(builder: Builder) -> None:
    with pytest.raises(Unavailable, match=r"the base image localhost:1/x/y:latest cannot be pulled: .*refused"):
        builder.build("FROM localhost:1/x/y")


def test_bad_tag_fails_internally(builder: Builder) -> None:
    with pytest.raises(TaskFailedInternally, match="invalid reference format"):
        builder.build("FROM BASE", tags=["NOT A TAG"])


def test_only_what_changed_is_sent_again(builder: Builder) -> None:
    files = {f"d/{number}": b"%d" % number * 1000 for number in range(50)}
    first = builder.build("FROM BASE\nCOPY d /d", files)
    assert first.sent_bytes > sum(map(len, files.values()))
    assert builder.build("FROM BASE\nCOPY d /d", files).sent_bytes == 0
    files["d/7"] = b"changed"
    changed = builder.build("FROM BASE\nCOPY d /d", files)
    assert changed.sent_bytes == len(b"changed")
    assert builder.output(changed, "cat", "/d/7") == "changed"


def test_large_and_many_files_arrive_whole(builder: Builder) -> None:
    large = hashlib.shake_128(b"large").digest(9_000_000)
    files = {"large": large} | {f"many/{number:05}": b"%d" % number for number in range(3000)}
    outcome = builder.build(
        "FROM BASE\nCOPY . /src\nRUN sha256sum /src/large >/sum; ls /src/many | wc -l >/count", files
    )
    assert builder.output(outcome, "cat", "/sum", "/count").split() == [
        hashlib.sha256(large).hexdigest(),
        "/src/large",
        "3000",
    ]


def test_large_secret_arrives_and_stays_out_of_image_and_log(builder: Builder) -> None:
    """Larger than the daemon's first window, so that it is sent in parts."""
    secret = hashlib.shake_128(b"secret").hexdigest(200_000).encode()
    outcome = builder.build(
        "FROM BASE\nRUN --mount=type=secret,id=s sha256sum </run/secrets/s >/sum; ls /run/secrets/s",
        secrets={"s": lambda: secret},
    )
    assert builder.output(outcome, "cat", "/sum").split()[0] == hashlib.sha256(secret).hexdigest()
    assert (
        builder.output(outcome, "sh", "-c", "ls /run/secrets 2>/dev/null; cat /run/secrets/s 2>/dev/null; echo none")
        == "none\n"
    )
    assert secret.decode() not in builder.log
    assert secret.decode()[:100] not in repr(builder.request("", secrets={"s": secret}))


def test_huge_line_is_broken_and_complete(builder: Builder) -> None:
    builder.build(
        f"FROM BASE\nRUN echo {builder.label} >/dev/null; head -c 150000 /dev/zero | tr '\\0' x; echo; echo end"
    )
    lines = [line for line in builder.log.splitlines() if line.count("x") > 1000]
    assert sum(line.count("x") for line in lines) == 150_000
    assert max(map(len, lines)) < 110_000
    assert re.search(r"^#\d+ \d+\.\d+ end$", builder.log, re.MULTILINE)
