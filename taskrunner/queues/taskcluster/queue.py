"""TaskclusterQueue: the queue service of a Taskcluster, which grants runs to whoever asks it.

A claim is asked for by one request, which the queue answers after 20 s at the latest. That request is never given up:
what its answer grants would be lost until the claim expires. A cancellation is learnt from a reclaim alone.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, cast

import attrs

from taskrunner.errors import Bug, ClaimLost, Complaint, ConfigError, Conflict, NotSupported, Unavailable
from taskrunner.interfaces.attachments import ProxyHandler
from taskrunner.interfaces.plugin import QueueContext
from taskrunner.interfaces.queue import Applied, Capabilities, HeldClaim, Queue, Submitter
from taskrunner.interfaces.queue_file import QueueFile
from taskrunner.model import Claim, Resolution, RunKey
from taskrunner.queues.taskcluster.artifacts import RunArtifacts
from taskrunner.queues.taskcluster.claim import ClaimToken, TaskclusterClaim, credentials_of
from taskrunner.queues.taskcluster.docker_worker.images import FROM_QUEUE, image_of
from taskrunner.queues.taskcluster.docker_worker.scopes import has_roles, satisfies
from taskrunner.queues.taskcluster.docker_worker.translation import PROXY_NAME, log_name, needed_scopes, translate
from taskrunner.queues.taskcluster.image_lookup import ImageLookup
from taskrunner.queues.taskcluster.options import KnownAs, TaskclusterOptions, TaskQueueAddress, option_complaints
from taskrunner.queues.taskcluster.proxy import SigningProxy
from taskrunner.queues.taskcluster.reader import TaskclusterReader
from taskrunner.queues.taskcluster.reports import RELEASED, Report, exception_report, report_of
from taskrunner.queues.taskcluster.service.answers import ClaimedRun, grants_of, lease_of, member
from taskrunner.queues.taskcluster.service.client import CallRefused, TaskclusterServices
from taskrunner.queues.taskcluster.service.credentials import Credentials
from taskrunner.queues.taskcluster.service.losses import FINAL, RunState, loss, run_state
from taskrunner.queues.taskcluster.service.server_clock import TimedAnswer

LEASE = 1200.0
"""Seconds of a claim, by the default of the queue service. Each answer says what it is."""

MAX_CLAIM = 32
"""The queue's limit."""

PAUSE = 1.0
"""Seconds from one claim to the next when the queue grants nothing: it waits for 20 s, but one that is ill may not."""

MAX_REPORTED = 1000
"""Runs whose report is remembered, in case it is sent again."""


class TaskclusterQueue(Queue):
    """The task queue of an address, for the worker `worker_id`, which Taskcluster knows as `known_as`. Made in the
    event loop."""

    options = TaskclusterOptions
    capabilities = Capabilities(
        max_claim=MAX_CLAIM, lease=LEASE, cancel="on-reclaim", max_release_delay=0.0, late_artifacts=True
    )

    def __init__(self, address: TaskQueueAddress, own: Credentials, worker_id: str, known_as: KnownAs) -> None:
        self._address = address
        self._services = TaskclusterServices(address.root_url, own)
        self._worker_id, self._known_as = worker_id, known_as
        self._reported: OrderedDict[RunKey, Report] = OrderedDict()
        self._in_vain = float("-inf")
        """When the last claim was asked for that got no task, on the loop's clock."""

    @classmethod
    async def open(cls, options: TaskclusterOptions, context: QueueContext) -> Self:
        address, own = TaskQueueAddress.of(context.url, options), _own(options, context)
        queue = _kind(options, context)(address, own, context.worker_id, KnownAs.of(options, context))
        try:
            await queue.start(options, context)
        except BaseException:
            await queue.close()
            raise
        return cast("Self", queue)

    @classmethod
    async def connect(cls, options: TaskclusterOptions, context: QueueContext) -> Submitter:
        address = TaskQueueAddress.of(context.url, options)
        return TaskclusterReader(TaskclusterServices(address.root_url, _own(options, context)), context.home)

    async def start(self, options: TaskclusterOptions, context: QueueContext) -> None:  # noqa: ARG002  see live_queue
        """Finds out whether the settings are right."""
        try:
            await self._services.queue(self._services.own, "ping")
        except CallRefused as refused:
            raise ConfigError(f"the queue of {self._address.root_url} refuses a ping: {refused}") from None

    @classmethod
    def check_options(cls, options: TaskclusterOptions) -> list[Complaint]:
        return list(option_complaints(options))

    @property
    def address(self) -> str:
        return f"{self._address.root_url} {self._address.task_queue_id}"

    # ---- claims -----------------------------------------------------------------------------------------

    async def claim(self, n: int, *, lease: float, wait: float) -> Sequence[Claim]:  # noqa: ARG002  the queue sets it
        """The queue itself says for how long an empty answer waits; `wait` is the least."""
        if n < 1:
            raise Bug(f"claim({n}): at least one")
        end = _now() + wait
        while not (claims := await self._claim_once(min(n, MAX_CLAIM))) and _now() < end:
            pass
        return claims

    async def _claim_once(self, n: int) -> Sequence[Claim]:
        await asyncio.sleep(max(0.0, self._in_vain + PAUSE - _now()))
        asking = asyncio.ensure_future(self._ask(n))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            with suppress(Unavailable, ConfigError):
                if claims := await asking:
                    return claims
            raise

    async def _ask(self, n: int) -> Sequence[Claim]:
        arguments = self._address.task_queue_id, {**attrs.asdict(self._known_as), "tasks": n}
        try:
            answer, exchange = await self._services.timed(self._services.own, "claimWork", *arguments)
        except CallRefused as refused:
            raise ConfigError(f"the queue grants {self.address} no claims: {refused}") from None
        grants = grants_of(answer)
        if not grants:
            self._in_vain = exchange.sent
        return [await self._new_claim(grant, exchange) for grant in grants]

    async def _new_claim(self, grant: ClaimedRun, exchange: TimedAnswer) -> Claim:
        translation = translate(grant, self._address, await self._scopes_of(grant))
        expires = grant.task.get("expires")
        token = ClaimToken(
            grant.lease.credentials, log_name(translation.payload), expires if isinstance(expires, str) else ""
        )
        return TaskclusterClaim(
            grant.task_id,
            grant.run_id,
            translation.document,
            self._worker_id,
            str(token),
            grant.lease.taken_until,
            exchange.valid_until(grant.lease.taken_until),
            grant.task,
            translation,
        )

    async def _scopes_of(self, grant: ClaimedRun) -> Sequence[str]:
        """The scopes of a task; with those of its roles, if it needs one that it does not name itself."""
        written = grant.task.get("scopes")
        scopes = [scope for scope in written if isinstance(scope, str)] if isinstance(written, list) else []
        needed = needed_scopes(grant.task.get("payload"))
        if all(satisfies(scopes, scope) for scope in needed) or not has_roles(scopes):
            return scopes
        with suppress(CallRefused, Unavailable):
            expanded = member(await self._services.expand(scopes), "scopes", list)
            return [scope for scope in expanded if isinstance(scope, str)]
        return scopes

    async def reclaim(self, claim: Claim, *, lease: float) -> Claim:  # noqa: ARG002  the queue sets it
        try:
            answer, exchange = await self._call(claim, "reclaimTask")
        except CallRefused as refused:
            raise loss(refused, await run_state(self._services, claim.run)) from None
        renewed = lease_of(answer)
        if not isinstance(claim, TaskclusterClaim):
            raise Bug("a claim of another queue")
        return claim.renewed(renewed, exchange.valid_until(renewed.taken_until))

    # ---- ends -------------------------------------------------------------------------------------------

    async def resolve(self, claim: Claim, resolution: Resolution) -> Applied:
        report = report_of(resolution)
        if self._reported.get(claim.run) == report:
            return "already-so"
        try:
            await self._call(claim, report.method, *report.payload)
        except CallRefused as refused:
            found = await run_state(self._services, claim.run)
            if (found.state, found.reason) == (report.state, report.reason):
                return "already-so"  # the answer to the same report was lost
            raise _objection(refused, found) from None
        self._remember(claim.run, report)
        return "applied"

    async def release(self, claim: Claim, *, delay: float, reason: str, message: str = "") -> float:  # noqa: ARG002  see RELEASED
        report = exception_report(RELEASED)
        try:
            await self._call(claim, report.method, *report.payload)
        except CallRefused as refused:
            found = await run_state(self._services, claim.run)
            if (found.state, found.reason) != (report.state, report.reason):
                raise loss(refused, found) from None
        return 0.0

    def _remember(self, run: RunKey, report: Report) -> None:
        self._reported[run] = report
        if len(self._reported) > MAX_REPORTED:
            self._reported.popitem(last=False)

    async def _call(self, claim: Claim, method: str, *payload: Any) -> tuple[Any, TimedAnswer]:
        """A call about one run, with the credentials of its claim. Raises ClaimLost, CallRefused (the run is not ours),
        Unavailable."""
        try:
            credentials = credentials_of(claim)
        except ValueError as error:
            raise ClaimLost("superseded", str(error)) from None
        try:
            return await self._services.timed(credentials, method, claim.task_id, str(claim.run_id), *payload)
        except CallRefused as refused:
            if refused.status in FINAL:
                raise
            problem = Unavailable(f"the queue refuses {method}: {refused}")
        raise problem

    # ---- for the runs -----------------------------------------------------------------------------------

    def in_authors_words(self, claim: Claim, complaints: Sequence[Complaint]) -> Sequence[Complaint]:
        return claim.translation.in_authors_words(complaints) if isinstance(claim, TaskclusterClaim) else complaints

    async def locate(self, held: HeldClaim, name: str) -> QueueFile:
        """The image of a payload that is an artifact."""
        claim = held()
        payload = claim.translation.payload if isinstance(claim, TaskclusterClaim) else None
        image = image_of(payload.image) if payload and name == FROM_QUEUE else ""
        if isinstance(image, str):
            raise NotSupported(f"this run has no file {name} of its queue")
        return await ImageLookup(self._services, held, image).locate()

    def artifacts(self, held: HeldClaim) -> RunArtifacts:
        return RunArtifacts(self._services, held)

    def proxies(self, held: HeldClaim) -> Mapping[str, ProxyHandler]:
        """The proxy of `features.taskclusterProxy`."""
        claim = held()
        payload = claim.translation.payload if isinstance(claim, TaskclusterClaim) else None
        return {PROXY_NAME: SigningProxy(self._services, held)} if payload and payload.features.taskclusterProxy else {}

    async def close(self) -> None:
        await self._services.close()


def _kind(options: TaskclusterOptions, context: QueueContext) -> type[TaskclusterQueue]:
    """Only a worker serves logs, and no other verb of the command line."""
    if options.live_log is None or not context.worker_id:
        return TaskclusterQueue
    from taskrunner.queues.taskcluster.live_queue import LiveTaskclusterQueue  # it is a subclass

    return LiveTaskclusterQueue


def _own(options: TaskclusterOptions, context: QueueContext) -> Credentials:
    certificate = context.reveal(options.certificate) if options.certificate else ""
    return Credentials(options.client_id, context.reveal(options.access_token), certificate)


def _objection(refused: CallRefused, found: RunState) -> ClaimLost | Conflict:
    lost = loss(refused, found)
    if lost.why == "resolved" and found.state:
        return Conflict(f"the queue has this run as {found.state} ({found.reason})")
    return lost


def _now() -> float:
    return asyncio.get_running_loop().time()
