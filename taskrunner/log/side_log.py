"""The log of something beside a run, such as a service: a file of its own, with the secrets of the run's log."""

from __future__ import annotations

import threading
from pathlib import Path

from taskrunner.interfaces.log import Log, LogStream, OutputMasker
from taskrunner.log.spool import Spool
from taskrunner.model import Resolution


class SideLog(Log):
    """What is masked in the log of the run is masked here, and the other way round."""

    def __init__(self, path: Path, main: Log) -> None:
        """Makes the file. Raises TaskFailedInternally when that fails."""
        self.path = path
        self._main, self._spool = main, Spool(path)
        self._maskers: dict[LogStream, OutputMasker] = {}
        self._lock = threading.Lock()

    def write(self, data: bytes, stream: LogStream = "stdout") -> None:
        with self._lock:
            if stream not in self._maskers:
                self._maskers[stream] = self._main.new_masker()
            self._spool.write(self._maskers[stream].feed(data), stream)

    def mask(self, secret: str) -> None:
        self._main.mask(secret)

    def new_masker(self) -> OutputMasker:
        return self._main.new_masker()

    def finish(self, resolution: Resolution, took: float) -> None:
        """Ends the log with how the run ended. A second call does nothing. Raises TaskFailedInternally when the last
        bytes cannot be written."""
        with self._lock:
            maskers, self._maskers = self._maskers, {}
            for stream, masker in maskers.items():
                self._spool.write(masker.flush(), stream)
            self._spool.finish(resolution, took)
