"""The SSH keys of a build."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs

from taskrunner.errors import Complaint
from taskrunner.model import Secret

DEFAULT_ID = "default"
"""Of a mount that names none."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
MAX_KEYS = 16
"""More than a server lets a client try."""


@attrs.frozen
class BuildSsh:
    """What `RUN --mount=type=ssh` gets: an agent, never the keys themselves."""

    keys: Mapping[str, Secret] = attrs.field(
        factory=dict,
        metadata={
            "doc": "Private keys by the id of the mount; `default` is a mount without one. Each is a secret of the "
            "worker: in the format of OpenSSH or PEM, without a passphrase."
        },
    )
    agent: bool = attrs.field(
        default=False,
        metadata={"doc": "Forward the worker's own agent as `default`, if its configuration has one: ssh_agent."},
    )


def complaints(ssh: BuildSsh) -> Iterator[Complaint]:
    """The mistakes that types cannot find."""
    for name in ssh.keys:
        if not _ID.fullmatch(name):
            yield Complaint(
                f"build.ssh.keys[{name!r}]", "is no id of a mount", "take up to 64 letters, digits and _ . -"
            )
    if len(ssh.keys) > MAX_KEYS:
        yield Complaint("build.ssh.keys", f"has more than {MAX_KEYS} keys", "servers let a client try about six")
    if ssh.agent and DEFAULT_ID in ssh.keys:
        yield Complaint(
            "build.ssh.agent", "and the key `default` are the same mount", "give the key another id, or leave one out"
        )
    if not ssh.agent and not ssh.keys:
        yield Complaint(
            "build.ssh", "names no key", 'write keys = { default = { secret = "its name" } }, or agent = true'
        )
