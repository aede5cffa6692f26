"""Tasks as processes of this machine: the `process` platform."""

from taskrunner_process.payload import ProcessOptions, ProcessPayload
from taskrunner_process.platform import ProcessPlatform

__all__ = ["ProcessOptions", "ProcessPayload", "ProcessPlatform"]
