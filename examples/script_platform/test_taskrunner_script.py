"""The script platform passes the tests of the contract that every platform keeps."""

import psutil
from taskrunner_script import WORKER, ScriptOptions, ScriptPayload, ScriptPlatform

from taskrunner import PlatformContext
from taskrunner.testing import PlatformConformance, Script


class TestScriptPlatform(PlatformConformance):
    supports = frozenset({"archive"})
    workers: frozenset[str] = frozenset()

    async def open(self, context: PlatformContext) -> ScriptPlatform:
        self.workers |= {context.worker_id}
        return await ScriptPlatform.open(ScriptOptions(), context)

    def payload(self, script: Script) -> ScriptPayload:
        return ScriptPayload(script.shell)

    async def alive(self) -> list[str]:
        found = [(each.pid, each.info["environ"] or {}) for each in psutil.process_iter(["environ"])]
        return [str(pid) for pid, environ in found if environ.get(WORKER) in self.workers]
