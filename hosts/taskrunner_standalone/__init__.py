"""The standalone host: a machine without a cloud around it, where signals stop the worker."""

from taskrunner_standalone.host import StandaloneHost

__all__ = ["StandaloneHost"]
