"""The agent of a fastlane.ci server: `taskrunner run --queue agent://0.0.0.0:8089`. Needs the extra `agent`."""

from taskrunner.queues.agent.queue import AgentQueue as AgentQueue
