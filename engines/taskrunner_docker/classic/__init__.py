"""Building an image without BuildKit, by the context as a tar: for a daemon that has no sessions, and for limits of
memory and CPUs, which Docker does not pass on to BuildKit."""

from taskrunner_docker.classic.build import build_by_tar

__all__ = ["build_by_tar"]
