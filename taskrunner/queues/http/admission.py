"""Which tasks the API takes: those that a worker can run, from the repositories that this way in allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.model import Document, Submission
from taskrunner.schema.check import PlatformClasses, submission_complaints
from taskrunner.schema.repositories import RepositoryRules
from taskrunner.schema.task import submission_of


@attrs.frozen
class SubmissionCheck:
    """The check of each document before it is queued."""

    platforms: PlatformClasses
    repositories: RepositoryRules

    def submission(self, document: Document, task_id: str = "") -> Submission:
        """The submission of a document; its id is `task_id`, if that is given.

        Raises: MalformedPayload with every complaint.
        """
        complaints = list(_other_id(document, task_id))
        if task_id:
            document = {**document, "id": task_id}
        complaints += [*submission_complaints(document, self.platforms)[0], *self._refused_repository(document)]
        if complaints:
            raise MalformedPayload(*dict.fromkeys(complaints))
        return submission_of(document)

    def _refused_repository(self, document: Document) -> Iterator[Complaint]:
        source = document.get("source")
        repository = source.get("repository") if isinstance(source, Mapping) else None
        if isinstance(repository, str) and repository and (refused := self.repositories.complaint(repository)):
            yield refused


def _other_id(document: Document, task_id: str) -> Iterator[Complaint]:
    if task_id and document.get("id", task_id) != task_id:
        yield Complaint("id", "is not the id in the path", "leave it out, or send the same")
