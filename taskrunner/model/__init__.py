"""The values of this project: what a task, a claim, a resolution and a status are.

All are immutable, without clocks, files or networks. Times of day are aware datetimes in UTC, lengths of time are
seconds, sizes are bytes.
"""

from __future__ import annotations

from taskrunner.model.claim import Claim, Notice, RunKey, Submission
from taskrunner.model.document import Document, Json, Secret
from taskrunner.model.reports import Health, Move, Progress
from taskrunner.model.resolution import COMPLETED, RETRIED, Ending, Resolution, exception, failed
from taskrunner.model.run_files import MAX_EXPIRY, MAX_STRIP, ArtifactSpec, CacheSpec, MountSpec, Source
from taskrunner.model.service import ReadySpec, ServiceSpec
from taskrunner.model.status import Artifact, RunStatus, RunStory, StateVisit, TaskState, TaskStatus
from taskrunner.model.task import DEFAULT_RETRIES, MAX_RUN_TIME, OnExitStatus, Task

__all__ = [  # noqa: RUF022  by module
    # document
    "Document", "Json", "Secret",
    # task
    "DEFAULT_RETRIES", "MAX_RUN_TIME", "OnExitStatus", "Task",
    # run_files
    "MAX_EXPIRY", "MAX_STRIP", "ArtifactSpec", "CacheSpec", "MountSpec", "Source",
    # service
    "ReadySpec", "ServiceSpec",
    # resolution
    "COMPLETED", "RETRIED", "Ending", "Resolution", "exception", "failed",
    # claim
    "Claim", "Notice", "RunKey", "Submission",
    # status
    "Artifact", "RunStatus", "RunStory", "StateVisit", "TaskState", "TaskStatus",
    # reports
    "Health", "Move", "Progress",
]  # fmt: skip
