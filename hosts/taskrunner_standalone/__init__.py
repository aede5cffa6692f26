"""The standalone host: a machine of one's own, told to leave by signals."""

from taskrunner_standalone.host import StandaloneHost

__all__ = ["StandaloneHost"]
