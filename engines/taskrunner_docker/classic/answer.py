"""The daemon's answer to a build without BuildKit: text for people, and the id of the image."""

from __future__ import annotations

import re

import attrs

from taskrunner.interfaces.log import Log, OutputMasker
from taskrunner.model import Progress
from taskrunner_docker.buildkit.answer import BuildFailed, ImageWritten, Output
from taskrunner_docker.buildkit.steps import BuildStep

_STEP = re.compile(r"Step (\d+)/(\d+) : (.+)")
_IMAGE = re.compile(r" ---> ([0-9a-f]{12,64})$", re.MULTILINE)
_CONTAINER = re.compile(r" ---> Running in ([0-9a-f]{12,64})")


@attrs.define
class ClassicAnswer:
    """What is known so far, and the log of it. Used from one thread."""

    _log: Log
    image_id: str | None = None
    error: str | None = None
    step: BuildStep | None = None
    """The one that runs, or failed."""
    container: str = ""
    """The one that runs it, or the last one."""
    last_image: str = ""
    """That of the last step that has ended, or the base image."""
    total: int = 0
    _masker: OutputMasker = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._masker = self._log.new_masker()

    def take(self, message: object) -> Progress | None:
        """Returns the progress when a step begins."""
        match message:
            case ImageWritten(image_id=image_id):
                self.image_id = image_id
            case BuildFailed(text=text):
                self.error = text
            case Output(text=text):
                self._log.write(self._masker.feed(text.encode("utf-8", "surrogatepass")))
                return self._read(text)
        return None

    def finish(self) -> None:
        self._log.write(self._masker.flush())

    def progress(self) -> Progress:
        number = self.step.number if self.step else 0
        done = number - (self.image_id is None)
        return Progress("build", max(done, 0), self.total, "steps", self.step.name if self.step else "")

    def _read(self, text: str) -> Progress | None:
        if found := _IMAGE.search(text):
            self.last_image = found[1]
        if found := _CONTAINER.match(text):
            self.container = found[1]
        if (found := _STEP.match(text)) is None:
            return None
        self.step, self.total = BuildStep(int(found[1]), found[3].strip()), int(found[2])
        return self.progress()
