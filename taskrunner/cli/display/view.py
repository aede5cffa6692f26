"""View: an observer that shows a worker to its operator."""

from __future__ import annotations

import logging

from taskrunner.runs.observer import Observer


class View(Observer):
    """The display of `run`."""

    async def closed(self) -> None:
        """The worker has stopped. Returns when everything is on the display."""


class LogHandler(logging.Handler):
    """Shows what libraries log as warnings of a view."""

    def __init__(self, view: View) -> None:
        super().__init__(logging.WARNING)
        self._view = view

    def emit(self, record: logging.LogRecord) -> None:
        self._view.warn(self.format(record))
