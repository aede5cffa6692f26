"""The SSH agents of a build: one for each key that the task names, and the worker's own where it may be used."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.model import Secret
from taskrunner_docker.build_fields.ssh import DEFAULT_ID, BuildSsh
from taskrunner_docker.ssh import Agent, BadKey, key_agent, load_key, socket_agent


def ssh_agents(ssh: BuildSsh | None, reveal: Callable[[Secret], str], own_socket: str) -> dict[str, Agent]:
    """By id of the mount. `own_socket` is the path of the worker's own agent; empty for none.

    Raises: MalformedPayload (a secret that is not configured, or is no key; the worker has no agent for builds).
    """
    if ssh is None:
        return {}
    agents, complaints = dict[str, Agent](), list(_agent_complaints(ssh, own_socket))
    if ssh.agent:
        agents[DEFAULT_ID] = socket_agent(own_socket)
    for name, secret in ssh.keys.items():
        try:
            agents[name] = key_agent([load_key(reveal(secret))])
        except BadKey as error:
            fix = "let the operator put a private key into this secret, or name another one"
            complaints.append(Complaint(f"build.ssh.keys[{name!r}]", str(error), fix))
    if complaints:
        raise MalformedPayload(*complaints)
    return agents


def _agent_complaints(ssh: BuildSsh, own_socket: str) -> Iterator[Complaint]:
    if ssh.agent and not own_socket:
        fix = "name a key, or let the operator set [docker] ssh_agent"
        yield Complaint("build.ssh.agent", "this worker has no agent for builds", fix)
