"""A worker for an existing Taskcluster: claims from its queue service, and runs the payloads of docker-worker."""

from taskrunner.queues.taskcluster.queue import TaskclusterQueue as TaskclusterQueue
