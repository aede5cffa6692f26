"""The end of a service's output, masked, for the message of a run that fails by it."""

from __future__ import annotations

from taskrunner.interfaces.log import OutputMasker

_LINES, _BYTES = 10, 4096


class LastLines:
    """Keeps at most ten lines and 4 KiB."""

    def __init__(self, masker: OutputMasker) -> None:
        self._masker = masker
        self._end = b""

    def feed(self, data: bytes) -> None:
        self._end = (self._end + self._masker.feed(data))[-_BYTES:]

    def text(self) -> str:
        """Whole lines, with their line feeds but the last; called once, at the end."""
        end = self._end + self._masker.flush()
        lines = end.decode("utf-8", "replace").splitlines()
        return "\n".join(lines[1:] if len(end) >= _BYTES else lines[-_LINES:])
