"""What every engine does with the proxies and the services of a run."""

from __future__ import annotations

import pytest

from taskrunner.errors import MalformedPayload, NotSupported, TaskFailed
from taskrunner.interfaces.attachments import ProxyHandler, Receive, Scope, Send, Service, proxy_variable
from taskrunner.testing.conformance.platform.harness import PlatformHarness, PlatformKit, Trial, scenario
from taskrunner.testing.conformance.platform.script import Script

BAD_NAMES = ("", "Upper", "under_score", "-begins", "a.b", "localhost", "a" * 64)


def answering(text: str) -> ProxyHandler:
    """A handler that answers each request with this text, its method and its path."""

    async def handler(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  it reads no body
        body = f"{text} {scope['method']} {scope['path']}\n".encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return handler


class AttachmentChecks(PlatformKit):
    """Both are reached by the run that they are attached to, and end with it."""

    @scenario
    async def test_an_attachment_that_is_left_out_is_not_supported(self, harness: PlatformHarness) -> None:
        engine = await harness.trial().load(Script())
        if "proxies" not in self.supports:
            with pytest.raises(NotSupported):
                await engine.attach_proxy("proxy", answering("nobody"))
        if "services" not in self.supports:
            with pytest.raises(NotSupported):
                await engine.attach_service("db", Service("image"))

    @scenario
    async def test_a_run_reaches_its_proxies(self, harness: PlatformHarness) -> None:
        if "proxies" not in self.supports:
            return
        trial = await self._with_proxies(harness, {"api": "first", "other-api": "second"}, fetch="other-api")
        await trial.wait()
        assert "second GET /some/path\n" in trial.log.text

    @scenario
    async def test_two_runs_have_their_own_proxies(self, harness: PlatformHarness) -> None:
        if "proxies" not in self.supports:
            return
        trials = [await self._with_proxies(harness, {"api": text}, fetch="api") for text in ("one", "two")]
        for trial in trials:
            await trial.wait()
        assert ["one GET" in trial.log.text for trial in trials] == [True, False]
        assert ["two GET" in trial.log.text for trial in trials] == [False, True]

    @scenario
    async def test_a_proxy_has_a_host_name_of_its_own(self, harness: PlatformHarness) -> None:
        if "proxies" not in self.supports:
            return
        engine = await harness.trial().load(Script())
        await engine.attach_proxy("api", answering("the first"))
        for name in ("api", *BAD_NAMES):
            with pytest.raises(MalformedPayload):
                await engine.attach_proxy(name, answering("another"))

    @scenario
    async def test_a_proxy_of_an_engine_that_is_discarded_ends(self, harness: PlatformHarness) -> None:
        if "proxies" not in self.supports:
            return
        engine = await harness.trial().load(Script())
        await engine.attach_proxy("api", answering("nobody"))
        await engine.discard()
        assert await self.left_behind() == []

    @scenario
    async def test_a_run_reaches_its_service(self, harness: PlatformHarness) -> None:
        if "services" not in self.supports:
            return
        trial = harness.trial()
        engine = await trial.load(Script(fetches="http://db:8000/"))
        await engine.attach_service("db", self.service("served"))
        await trial.start({})
        await trial.wait()
        assert await self.alive() == [], "a service outlives its run"
        assert "served" in trial.log.text

    @scenario
    async def test_a_service_that_is_not_ready_fails_its_run(self, harness: PlatformHarness) -> None:
        if "services" not in self.supports:
            return
        engine = await harness.trial().load(Script())
        with pytest.raises(TaskFailed) as caught:
            await engine.attach_service("db", self.service_that_fails())
        assert caught.value.reason == "service-failed"
        await engine.discard()
        assert await self.left_behind() == []

    @scenario
    async def test_a_service_has_a_host_name_of_its_own(self, harness: PlatformHarness) -> None:
        if "services" not in self.supports:
            return
        engine = await harness.trial().load(Script())
        await engine.attach_service("db", self.service("served"))
        for name in ("db", *BAD_NAMES):
            with pytest.raises(MalformedPayload):
                await engine.attach_service(name, self.service("served"))

    async def _with_proxies(self, harness: PlatformHarness, answers: dict[str, str], *, fetch: str) -> Trial:
        """A run that has started, with a proxy for each answer, and asks one of them."""
        trial = harness.trial()
        engine = await trial.load(Script(fetches=f"${{{proxy_variable(fetch)}}}some/path"))
        for name, text in answers.items():
            await engine.attach_proxy(name, answering(text))
        await trial.start({})
        return trial


__all__ = ["AttachmentChecks", "answering"]
