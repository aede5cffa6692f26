"""What a worker does that is not root, and becomes other accounts by sudo: called by `test_sudo`, as that worker."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from taskrunner.errors import ConfigError
from taskrunner.interfaces.execution import Size
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.model import CacheSpec
from taskrunner.steps.specification import StepSpec
from taskrunner.testing.conformance.platform.harness import joined
from taskrunner.testing.fakes.log import MemoryLog
from taskrunner_process import ProcessOptions, ProcessPayload, ProcessPlatform
from tests.process.process_bench import Bench, alive, contents, token

ODD = "'a' \"b\" $HOME `id` \\ \n\t*?\x01\x7f é \u0081\u0088 end "


@asynccontextmanager
async def bench(home: Path, options: ProcessOptions, worker_id: str = "w1") -> AsyncIterator[Bench]:
    platform = await ProcessPlatform.open(options, PlatformContext(worker_id, home, lambda secret: secret.literal))
    try:
        yield Bench(platform, home)
    finally:
        await platform.dispose()


async def belongs_to_the_account(home: Path) -> None:
    async with bench(home, ProcessOptions("ci")) as on:
        script = """
            id -un; id -gn; id -Gn; pwd; umask; cat; cat /dev/stdin
            printf '%s' "$ODD" >odd; printf '%s' "$1" >argument; env >variables; echo t >"$TMPDIR/t"
            ls -l /proc/self/fd | wc -l
        """
        engine = await on.loaded(
            ProcessPayload(("sh", "-c", script, "sh", ODD), "from the payload\n"), env={"SECRET": "hunter2"}
        )
        results = await (await engine.start({"ODD": ODD, "SECRET": "hunter2"})).wait()
        lines = on.text.splitlines()
        assert lines[:5] == ["ci", "ci", "ci", str(on.folder), "0022"], on.text
        assert lines[5] == "from the payload"
        assert lines[-1] == "5", on.text  # a line for the total, three descriptors, and that of the folder
        assert results.exit_code == 0
        assert (await contents(results, "odd")).decode() == ODD
        assert (await contents(results, "argument")).decode() == ODD
        names = {
            line.partition(b"=")[0] for line in (await contents(results, "variables")).splitlines() if b"=" in line
        }
        assert not [name for name in names if name.startswith((b"SUDO", b"MAIL", b"XDG"))]
        assert (on.folder / "odd").owner() == "ci"
        await results.dispose()
        assert list(on.folder.iterdir()) == []
        assert list((home / "process-folders").iterdir()) == []


async def keeps_what_the_worker_may_not_read(home: Path) -> None:
    async with bench(home, ProcessOptions("ci")) as on:
        results = await on.shell("mkdir -p d/e; echo kept >d/e/f; ln -s /etc/shadow d/link; chmod 0 d/e/f d/e; exit 3")
        assert results.exit_code == 3
        assert await contents(results, "d/e/f") == b"kept\n"
        await results.dispose()
        assert list(on.folder.iterdir()) == []


async def ends_every_process(home: Path) -> None:
    word = token()
    async with bench(home, ProcessOptions("ci")) as on:
        execution = await on.start(
            "sh", "-c", f"(setsid sleep {word} &); (setsid setsid sleep {word} &) ; echo up; sleep {word}"
        )
        assert isinstance(on.log, MemoryLog)
        await on.log.until("up")
        terminal = await execution.new_exec(
            ["sh", "-c", "echo hi >/dev/tty; id -un; echo by name >$(tty)"], tty=Size(24, 80)
        )
        assert await joined(terminal.stdout) == b"hi\r\nci\r\nby name\r\n"
        assert len(alive(word)) >= 3
        results = await execution.kill()
        assert alive(word) == []
        await results.dispose()


async def ends_what_has_hidden(home: Path) -> None:
    """With accounts of their own: also what no search by relations finds."""
    word = token()
    async with bench(home, ProcessOptions(users=("ci-1", "ci-2"))) as on:
        hide = f"(setsid env -i sh -c 'setsid sleep {word} & exit' &)"
        results = await on.shell(f"{hide}; until pgrep -f '^sleep {word}'; do :; done >/dev/null")
        await results.dispose()
        assert alive(word) == []


async def hands_a_cache_over(home: Path) -> None:
    place = home / "kept"
    place.mkdir(mode=0o700)
    first = "mkdir -p kept/d/e; echo 1 >kept/d/e/f; ln -s /etc kept/link; chmod 0 kept/d/e/f kept/d/e"
    assert await _with_cache(home, ("ci-1", "ci-2"), place, first) == "ci-1"
    second = (
        "cat kept/d/e/f && echo 2 >>kept/d/e/f && test -L kept/link && ! find kept/ -mindepth 1 ! -user ci-2 | grep ."
    )
    assert await _with_cache(home, ("ci-2", "ci-1"), place, second) == "ci-2"
    assert stat.S_IMODE(place.stat().st_mode) == stat.S_IRWXU
    async with bench(home, ProcessOptions(users=("ci-2", "ci-1"))) as on:
        await on.platform.new_cache_folder("kept", place).delete()
    assert not place.exists()


async def _with_cache(home: Path, users: tuple[str, ...], place: Path, script: str) -> str:
    """Runs a script as the first user: the owner of a file that it makes."""
    async with bench(home, ProcessOptions(users=users)) as on:
        engine = await on.engine("sh", "-c", f"touch mine; {script}", caches=(CacheSpec("kept", "kept"),))
        await engine.attach_cache(on.platform.new_cache_folder("kept", place), "kept")
        results = await (await engine.start({})).wait()
        assert results.exit_code == 0, on.text
        owner = (on.folder / "mine").owner()
        await results.dispose()
        on.folder.rmdir()
        return owner


async def runs_steps(home: Path) -> None:
    async with bench(home, ProcessOptions("ci")) as on:
        steps = (
            StepSpec(name="one", run='echo "word=from one" >>"$TASKRUNNER_OUTPUT"; id -un', id="one"),
            StepSpec(name="two", run="echo got $WORD", env={"WORD": "${steps.one.outputs.word}"}),
        )
        engine = await on.loaded(ProcessPayload(steps=steps))
        results = await (await engine.start({})).wait()
        assert results.exit_code == 0, on.text
        assert "ci\n" in on.text
        assert "got from one\n" in on.text
        await results.dispose()
        assert list(on.folder.iterdir()) == []


async def is_refused(home: Path) -> None:
    with pytest.raises(ConfigError) as error:
        await ProcessPlatform.open(ProcessOptions("ci"), PlatformContext("w1", home, lambda secret: secret.literal))
    (home / "refusal").write_text(str(error.value))
    assert os.geteuid() != 0


async def reads_a_mount(home: Path) -> None:
    content = home / "content"
    (content / "deep").mkdir(parents=True)
    (content / "deep/file").write_text("treasure\n")
    (content / "deep/file").chmod(0o444)
    async with bench(home, ProcessOptions("ci")) as on:
        engine = await on.engine("sh", "-c", "id -un; cat data/deep/file; test -w data/deep/file || echo sealed")
        await engine.attach_mount(content, "data")
        results = await (await engine.start({})).wait()
        assert on.text == "ci\ntreasure\nsealed\n"
        await results.dispose()
        assert list(on.folder.iterdir()) == []
    assert (content / "deep/file").read_text() == "treasure\n"
