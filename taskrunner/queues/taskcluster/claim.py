"""One claim, with what the queue knows of its task."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs

from taskrunner.model import Claim, Document
from taskrunner.queues.taskcluster.docker_worker.translation import Translation
from taskrunner.queues.taskcluster.service.answers import TakenLease, time_of
from taskrunner.queues.taskcluster.service.credentials import Credentials


@attrs.frozen
class TaskclusterClaim(Claim):
    """The token of such a claim is its credentials, which each reclaim replaces."""

    task: Document = attrs.field(factory=dict, repr=False)
    """The definition of the task, as its author wrote it."""
    translation: Translation = attrs.field(default=Translation({}), repr=False)

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
        return attrs.evolve(self, token=lease.credentials.token, taken_until=lease.taken_until, valid_until=valid_until)


def credentials_of(claim: Claim) -> Credentials:
    """Of any claim, also one that crash recovery has made of a token. Raises ValueError."""
    return Credentials.of_token(claim.token)
