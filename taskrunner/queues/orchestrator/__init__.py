"""A worker of a build orchestrator: `taskrunner run --queue orchestrator://HOST:5051?port=6000`. Needs the extra
`orchestrator`."""

from taskrunner.queues.orchestrator.queue import OrchestratorQueue as OrchestratorQueue
