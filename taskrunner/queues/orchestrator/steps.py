"""The steps of a job: what a response says about the one that failed."""

from __future__ import annotations

from enum import StrEnum

from taskrunner.model import Progress, Resolution


class ImageStep(StrEnum):
    """Each with the words that an orchestrator knows."""

    CLONE = "Failed to clone the repo"
    BUILD = "Failed to build Docker image"
    LOGIN = "Failed to authenticate Docker with AWS"
    PUSH = "Failed to push Docker image"


CANCELLED = "Execution cancelled"

INTERRUPTED = frozenset({"canceled", "worker-shutdown"})
"""Reasons of an end that no step is to blame for."""

OF_STATE = {"loading": ImageStep.CLONE, "running": ImageStep.BUILD, "uploading": ImageStep.PUSH}
"""What is done in a state of a run."""

OF_REASON = {"clone-failed": ImageStep.CLONE, "build-failed": ImageStep.BUILD, "push-failed": ImageStep.PUSH}
"""Where the reason of an end says more than the state."""

LOGIN = "login"
"""The step in the progress of a run in which it asks Amazon where the registry is."""


class StepWatch:
    """Finds out which step a job is at."""

    def __init__(self) -> None:
        self.aws = True
        """Whether its registry is Amazon's."""
        self._step = ImageStep.BUILD  # what fails before the clone is the platform that builds
        self._has_failed = False

    def moved(self, state: str, ending: Resolution | None) -> None:
        """A run that has failed goes on to its end, and its step stays."""
        self._has_failed = self._has_failed or (ending is not None and ending.kind != "completed")
        if not self._has_failed:
            self._step = OF_STATE.get(state, self._step)

    def progress(self, progress: Progress) -> None:
        if progress.step == LOGIN and not self._has_failed:
            self._step = ImageStep.PUSH if progress.done == progress.total else ImageStep.LOGIN

    def error(self, ending: Resolution) -> str:
        """The `error` of a job that has ended like this."""
        if ending.kind == "exception" and ending.reason in INTERRUPTED:
            return CANCELLED
        return failure(self._failed(ending), ending.message)

    def _failed(self, ending: Resolution) -> ImageStep:
        if ending.reason == "login-failed":
            return ImageStep.LOGIN if self.aws else ImageStep.PUSH
        if ending.reason == "malformed-payload":  # of the source, or else of the image
            return ImageStep.CLONE if ending.message.lstrip().startswith("source") else ImageStep.BUILD
        return OF_REASON.get(ending.reason, self._step)


def failure(step: ImageStep, message: str) -> str:
    return f"{step}: {message.removeprefix('clone: ')}"
