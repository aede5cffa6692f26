"""The script platform passes the tests of the contract that every platform keeps."""

import psutil
from taskrunner_script import RUN, ScriptOptions, ScriptPayload, ScriptPlatform

from taskrunner import PlatformContext
from taskrunner.testing import PlatformConformance, Script


class TestScriptPlatform(PlatformConformance):
    async def open(self, context: PlatformContext) -> ScriptPlatform:
        return await ScriptPlatform.open(ScriptOptions(), context)

    def payload(self, script: Script) -> ScriptPayload:
        return ScriptPayload(script.shell)

    async def alive(self) -> list[str]:
        return [str(each.pid) for each in psutil.process_iter(["environ"]) if RUN in (each.info["environ"] or {})]
