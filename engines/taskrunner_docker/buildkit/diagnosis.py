"""Why a build failed, in words. The daemon reports texts only, wrapped several times."""

from __future__ import annotations

import re

from taskrunner.errors import RunLost, Unavailable
from taskrunner_docker.buildkit.request import BuildOutcome
from taskrunner_docker.buildkit.steps import CANCELED, BuildStep
from taskrunner_docker.registry.refusals import asks_registry, may_pass, registry_fault

_WRAPPING = re.compile(
    r"failed to solve( with frontend [\w.]+)?: |failed to create LLB definition: "
    r"|rpc error: code = \w+ desc = |failed to compute cache key: "
)
_EXIT_CODE = re.compile(r"(?:exit|non-zero) code: (\d+)$")
_NOT_THERE = re.compile(
    r'"(/[^"]*)"(?:: not found| not found: not found)$|lstat \S*/merged(/.*): no such file or directory$'
)
_NO_DOCKERFILE = re.compile(
    r"failed to read dockerfile: open (?:\S*/)?buildkit-mount\d+/(.+): no such file or directory$"
)
_METADATA_OF = re.compile(r"load metadata for (\S+)$")
_KILLED = re.compile(r"signal: killed")
_NO_SESSION = re.compile(r"no active session|transport is closing|session .*not found")
_NO_SPACE = re.compile(r"no space left on device")
KILLED_EXIT_CODE = 137  # 128 + SIGKILL
_CONTEXT = "the build context: it does not exist, or .dockerignore excludes it"
_ELSEWHERE = "the stage or image that it is to be copied from"
_KILLED_HINT = "killed: it was out of memory, or was stopped"


def diagnose(error: str, step: BuildStep | None, sent_bytes: int) -> BuildOutcome:
    """The outcome of a build that ended with this error of the daemon, in this step if it is known.

    Raises: RunLost, Unavailable, when the fault is not the build's.
    """
    text = _unwrapped(error)
    code = int(found[1]) if (found := _EXIT_CODE.search(text)) else None
    name = step.name if step else ""
    if code is None:
        _check_daemon(text)
        if asks_registry(name) and may_pass(text):
            raise Unavailable(f"build failed at {name}: {_reason(text, name, code)}; the registry may be down")
    return BuildOutcome(failed_step=name, error=_reason(text, name, code), exit_code=code, sent_bytes=sent_bytes)


def _unwrapped(error: str) -> str:
    text = error.strip()
    while found := _WRAPPING.match(text):
        text = text[found.end() :]
    return text


def _check_daemon(text: str) -> None:
    if _NO_SESSION.search(text):
        raise RunLost(f"the Docker daemon lost the build's session: {text}")
    if _NO_SPACE.search(text):
        raise Unavailable(f"the Docker daemon has no space left on its disk: {text}")
    if text.endswith(CANCELED):  # not by us: it is stopping
        raise RunLost("the Docker daemon cancelled the build")


def _reason(text: str, step: str, code: int | None) -> str:
    if code == KILLED_EXIT_CODE or _KILLED.search(text):
        return f"exit code: {KILLED_EXIT_CODE} ({_KILLED_HINT})"
    if code is not None:
        return f"exit code: {code}"
    if found := _NO_DOCKERFILE.search(text):
        return f"there is no file {found[1]} in the build context to build from"
    if found := _NOT_THERE.search(text):
        return f"{found[1] or found[2]} is not in {_ELSEWHERE if '--from' in step else _CONTEXT}"
    if found := _METADATA_OF.search(step):
        fault = registry_fault(text)
        return f"the base image {found[1]} cannot be pulled: {f'{fault}: ' if fault else ''}{text}"
    return text
