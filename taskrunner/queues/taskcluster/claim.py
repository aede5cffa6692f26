"""One claim, with what the queue knows of its task."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Self

import attrs

from taskrunner.errors import Bug
from taskrunner.model import Claim, Document
from taskrunner.queues.taskcluster.docker_worker.translation import Translation
from taskrunner.queues.taskcluster.service.answers import TakenLease, time_of
from taskrunner.queues.taskcluster.service.credentials import Credentials


@attrs.frozen
class ClaimToken:
    """What the token of a claim says. Whoever has it can report for the run and upload its log; crash recovery, which
    knows nothing else of the run, must."""

    credentials: Credentials
    """Each reclaim replaces them."""
    log: str = ""
    """The name of the log's artifact."""
    expires: str = ""
    """When the queue forgets the task, in its own words."""

    @classmethod
    def of(cls, claim: Claim) -> Self:
        """Raises ValueError."""
        try:
            client_id, access_token, certificate, log, expires = json.loads(claim.token)
        except (TypeError, ValueError):
            problem = "this is no token of a claim of Taskcluster"
        else:
            return cls(Credentials(str(client_id), str(access_token), str(certificate)), str(log), str(expires))
        raise ValueError(problem)  # outside of `except`: the chain of causes would quote the token

    def __str__(self) -> str:
        known = self.credentials
        return json.dumps([known.client_id, known.access_token, known.certificate, self.log, self.expires])


@attrs.frozen
class TaskclusterClaim(Claim):
    """Its token is the text of a ClaimToken."""

    task: Document = attrs.field(factory=dict, repr=False)
    """The definition of the task, as its author wrote it. Of the run of a worker that died, only when it expires."""
    translation: Translation = attrs.field(default=Translation({}), repr=False)

    @classmethod
    def of(cls, claim: Claim) -> Self:
        """Any claim of this queue, also one that crash recovery has made of a token. Raises: Bug."""
        if isinstance(claim, cls):
            return claim
        try:
            token = ClaimToken.of(claim)
        except ValueError as error:
            raise Bug(str(error)) from None
        task = {"expires": token.expires}
        return cls(claim.task_id, claim.run_id, claim.document, claim.worker_id, claim.token, task=task)

    @property
    def log(self) -> str:
        """The name of the log's artifact."""
        return ClaimToken.of(self).log

    @property
    def expires(self) -> datetime:
        """When the queue forgets the task; no artifact may live longer."""
        return time_of(self.task.get("expires")) or datetime.now(UTC)

    def expiry_of(self, name: str) -> datetime:
        """When an artifact may be removed: as its author says, at the end of the task at the latest."""
        payload = self.translation.payload
        for declared, artifact in payload.artifacts.items() if payload else ():
            if name == declared or name.startswith(f"{declared}/"):
                return min(time_of(artifact.expires) or self.expires, self.expires)
        return self.expires

    def scopes_of_run(self) -> list[str]:
        """What a request of the run itself may use: not the scopes by which the worker reports for it."""
        scopes = self.task.get("scopes")
        own = [scope for scope in scopes if isinstance(scope, str)] if isinstance(scopes, list) else []
        return [*own, f"queue:create-artifact:{self.task_id}/{self.run_id}"]

    def renewed(self, lease: TakenLease, valid_until: float) -> TaskclusterClaim:
        """The same claim with the lease of a reclaim."""
        token = attrs.evolve(ClaimToken.of(self), credentials=lease.credentials)
        return attrs.evolve(self, token=str(token), taken_until=lease.taken_until, valid_until=valid_until)


def credentials_of(claim: Claim) -> Credentials:
    """Of any claim, also one that crash recovery has made of a token. Raises ValueError."""
    return ClaimToken.of(claim).credentials
