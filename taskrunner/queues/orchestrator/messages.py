"""The messages of the protocol, by the descriptors that `script/protocols.py` compiles."""

from __future__ import annotations

from enum import IntEnum

from taskrunner.queues.listening.grpc_messages import load_protocol, message_class

JOB_SERVICE = "job.JobService"
WORKER_SERVICE = "worker.WorkerService"

POOL = load_protocol(__package__)

JobRequest = message_class(POOL, "job.JobRequest")
JobResponse = message_class(POOL, "job.JobResponse")
PingResponse = message_class(POOL, "job.PingResponse")

WorkerInfo = message_class(POOL, "worker.WorkerInfo")
RegisterAck = message_class(POOL, "worker.RegisterAck")
ProbeRequest = message_class(POOL, "worker.PingRequest")
ProbeResponse = message_class(POOL, "worker.PongResponse")


class JobServiceStatus(IntEnum):
    """`job.WorkerStatus`."""

    UNKNOWN = 0
    FREE = 1
    BUSY = 2
