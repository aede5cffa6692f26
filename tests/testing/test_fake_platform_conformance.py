from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from taskrunner.interfaces.platform import PlatformContext
from taskrunner.testing import clock
from taskrunner.testing.conformance.platform import PlatformConformance
from taskrunner.testing.conformance.platform_harness import Option
from taskrunner.testing.conformance.script import FOREVER, Script
from taskrunner.testing.fakes.payload import FakePayload
from taskrunner.testing.fakes.platform import FakeOptions, FakePlatform


class TestFakePlatform(PlatformConformance):
    supports = frozenset[Option]({"archive", "caches", "exec", "proxies", "recover", "services", "stdin"})

    def setup_method(self) -> None:
        self.platform = FakePlatform()

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        clock.run(scenario)

    async def open(self, context: PlatformContext) -> FakePlatform:
        return await self.platform.plugin().open(FakeOptions(), context)

    def payload(self, script: Script) -> FakePayload:
        return FakePayload(
            log=script.prints,
            print_env=script.print_env,
            print_file=script.print_file,
            print_stdin=script.print_stdin,
            files={**script.files, **{path: "\0" * size for path, size in script.zeros.items()}},
            links=script.links,
            run_for=FOREVER if script.sleeps else script.pauses,
            exit_code=script.exit_code,
        )

    async def alive(self) -> list[str]:
        return [str(run.key) for run in self.platform.backend.runs if run.process and not run.process.done()]
