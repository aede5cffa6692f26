"""An SSH agent for a build: of keys in memory, or the operator's own behind a filter.

An agent is a function of one request to one answer, without the length in front of each. Messages:
https://datatracker.ietf.org/doc/html/draft-miller-ssh-agent.
"""

from taskrunner_docker.ssh.agent_socket import socket_agent
from taskrunner_docker.ssh.key_agent import key_agent
from taskrunner_docker.ssh.messages import Agent, take_requests, with_length
from taskrunner_docker.ssh.private_keys import BadKey, PrivateKey, load_key

__all__ = [
    "Agent",
    "BadKey",
    "PrivateKey",
    "key_agent",
    "load_key",
    "socket_agent",
    "take_requests",
    "with_length",
]
