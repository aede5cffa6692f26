from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from taskrunner.interfaces.attachments import Service
from taskrunner.interfaces.platform import PlatformContext
from taskrunner.testing import clock
from taskrunner.testing.conformance.platform.conformance import PlatformConformance
from taskrunner.testing.conformance.platform.harness import Option
from taskrunner.testing.conformance.platform.script import FOREVER, Script
from taskrunner.testing.fakes.fetching import ANSWER, FAILING
from taskrunner.testing.fakes.payload import FakePayload
from taskrunner.testing.fakes.platform import FakeOptions, FakePlatform


class TestFakePlatform(PlatformConformance):
    in_memory = True
    supports = frozenset[Option]({"archive", "caches", "exec", "mounts", "proxies", "recover", "services", "stdin"})

    def setup_method(self) -> None:
        self.platform = FakePlatform()

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        clock.run(scenario)

    async def open(self, context: PlatformContext) -> FakePlatform:
        return await self.platform.plugin().open(FakeOptions(), context)

    def payload(self, script: Script) -> FakePayload:
        return FakePayload(
            log=script.prints + script.print_bytes.decode(errors="surrogateescape") + script.print_error,
            log_after=script.prints_after,
            print_env=script.print_env,
            print_file=script.print_file,
            print_stdin=script.print_stdin,
            fetch=script.fetches,
            files={**script.files, **{path: "\0" * size for path, size in script.zeros.items()}},
            links=script.links,
            run_for=FOREVER if script.sleeps else script.pauses,
            memory=script.allocates,
            processes=script.children,
            exit_code=script.exit_code,
        )

    def service(self, answer: str) -> Service:
        return Service("fake", env={ANSWER: answer})

    def service_that_fails(self) -> Service:
        return Service(FAILING)

    def malformed_payload(self) -> FakePayload:
        return FakePayload(run_for=-1)

    def payload_that_cannot_start(self) -> FakePayload:
        return FakePayload(fail_at="start", error="task-failed")

    async def left_behind(self) -> list[str]:
        return self.platform.alive

    async def alive(self) -> list[str]:
        return [str(run.key) for run in self.platform.backend.runs if run.process and not run.process.done()]
