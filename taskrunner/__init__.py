"""A task worker that you can read: two explicit state machines, and small interfaces around them.

Everything here is public; all else may change. A name is loaded when it is first used, so that importing this costs
nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from taskrunner.amounts import Amounts as Amounts
    from taskrunner.amounts import Room as Room
    from taskrunner.blocking import run_blocking as run_blocking
    from taskrunner.config.config import Config as Config
    from taskrunner.config.environment import home as home
    from taskrunner.coroutine import coroutine_platform as coroutine_platform
    from taskrunner.driver import Driver as Driver
    from taskrunner.driver import Step as Step
    from taskrunner.errors import Bug as Bug
    from taskrunner.errors import ClaimLost as ClaimLost
    from taskrunner.errors import Complaint as Complaint
    from taskrunner.errors import ConfigError as ConfigError
    from taskrunner.errors import Conflict as Conflict
    from taskrunner.errors import MalformedPayload as MalformedPayload
    from taskrunner.errors import NotSupported as NotSupported
    from taskrunner.errors import Reject as Reject
    from taskrunner.errors import RunLost as RunLost
    from taskrunner.errors import TaskFailed as TaskFailed
    from taskrunner.errors import TaskFailedInternally as TaskFailedInternally
    from taskrunner.errors import TaskrunnerError as TaskrunnerError
    from taskrunner.errors import Unavailable as Unavailable
    from taskrunner.errors import UnknownTask as UnknownTask
    from taskrunner.errors import WorkerBroken as WorkerBroken
    from taskrunner.files.results import FolderResults as FolderResults
    from taskrunner.interfaces.artifacts import INDEX_NAME as INDEX_NAME
    from taskrunner.interfaces.artifacts import LOG_NAME as LOG_NAME
    from taskrunner.interfaces.artifacts import ArtifactStore as ArtifactStore
    from taskrunner.interfaces.artifacts import Missing as Missing
    from taskrunner.interfaces.artifacts import check_artifact_name as check_artifact_name
    from taskrunner.interfaces.attachments import ProxyHandler as ProxyHandler
    from taskrunner.interfaces.attachments import Service as Service
    from taskrunner.interfaces.attachments import proxy_variable as proxy_variable
    from taskrunner.interfaces.caches import CacheFolder as CacheFolder
    from taskrunner.interfaces.caches import Caches as Caches
    from taskrunner.interfaces.caches import Lease as Lease
    from taskrunner.interfaces.engine import Engine as Engine
    from taskrunner.interfaces.execution import Exec as Exec
    from taskrunner.interfaces.execution import Execution as Execution
    from taskrunner.interfaces.execution import Input as Input
    from taskrunner.interfaces.execution import Size as Size
    from taskrunner.interfaces.host import Host as Host
    from taskrunner.interfaces.host import Leave as Leave
    from taskrunner.interfaces.log import Log as Log
    from taskrunner.interfaces.log import LogOrigin as LogOrigin
    from taskrunner.interfaces.platform import Platform as Platform
    from taskrunner.interfaces.platform import PlatformContext as PlatformContext
    from taskrunner.interfaces.platform import RunContext as RunContext
    from taskrunner.interfaces.plugin import NoOptions as NoOptions
    from taskrunner.interfaces.plugin import PluginContext as PluginContext
    from taskrunner.interfaces.plugin import QueueContext as QueueContext
    from taskrunner.interfaces.push import ArtifactStream as ArtifactStream
    from taskrunner.interfaces.push import Credits as Credits
    from taskrunner.interfaces.push import Offer as Offer
    from taskrunner.interfaces.push import OfferRefused as OfferRefused
    from taskrunner.interfaces.push import Peer as Peer
    from taskrunner.interfaces.push import PushSource as PushSource
    from taskrunner.interfaces.push import Taken as Taken
    from taskrunner.interfaces.queue import Capabilities as Capabilities
    from taskrunner.interfaces.queue import Queue as Queue
    from taskrunner.interfaces.queue import Slots as Slots
    from taskrunner.interfaces.queue import Submitter as Submitter
    from taskrunner.interfaces.queue_file import QueueFile as QueueFile
    from taskrunner.interfaces.results import Entry as Entry
    from taskrunner.interfaces.results import Results as Results
    from taskrunner.interfaces.source import SourceLimits as SourceLimits
    from taskrunner.interfaces.source import SourceOptions as SourceOptions
    from taskrunner.machines.chart import Chart as Chart
    from taskrunner.machines.chart import Refused as Refused
    from taskrunner.machines.chart import Signal as Signal
    from taskrunner.machines.machine import Machine as Machine
    from taskrunner.machines.table import Row as Row
    from taskrunner.machines.table import Table as Table
    from taskrunner.machines.table import declare as declare
    from taskrunner.machines.table import read_table as read_table
    from taskrunner.machines.task import Attempt as Attempt
    from taskrunner.machines.task import TaskChart as TaskChart
    from taskrunner.machines.task import TaskEvent as TaskEvent
    from taskrunner.machines.task import TaskMachine as TaskMachine
    from taskrunner.machines.worker import Load as Load
    from taskrunner.machines.worker import WorkerChart as WorkerChart
    from taskrunner.machines.worker import WorkerEvent as WorkerEvent
    from taskrunner.machines.worker import WorkerMachine as WorkerMachine
    from taskrunner.model import RETRIED as RETRIED
    from taskrunner.model import Artifact as Artifact
    from taskrunner.model import ArtifactSpec as ArtifactSpec
    from taskrunner.model import CacheSpec as CacheSpec
    from taskrunner.model import Claim as Claim
    from taskrunner.model import Health as Health
    from taskrunner.model import MountSpec as MountSpec
    from taskrunner.model import Move as Move
    from taskrunner.model import Notice as Notice
    from taskrunner.model import Progress as Progress
    from taskrunner.model import Resolution as Resolution
    from taskrunner.model import RunKey as RunKey
    from taskrunner.model import RunStatus as RunStatus
    from taskrunner.model import RunStory as RunStory
    from taskrunner.model import Secret as Secret
    from taskrunner.model import ServiceSpec as ServiceSpec
    from taskrunner.model import Source as Source
    from taskrunner.model import StateVisit as StateVisit
    from taskrunner.model import Submission as Submission
    from taskrunner.model import Task as Task
    from taskrunner.model import TaskStatus as TaskStatus
    from taskrunner.queues.memory import MemoryQueue as MemoryQueue
    from taskrunner.queues.push.queue import PushQueue as PushQueue
    from taskrunner.queues.sqlite.queue import SqliteQueue as SqliteQueue
    from taskrunner.queues.submission import check_submission as check_submission
    from taskrunner.runs.observer import Observer as Observer
    from taskrunner.runs.observer import RunView as RunView
    from taskrunner.runs.observer import WorkerView as WorkerView
    from taskrunner.runs.run import TaskRun as TaskRun
    from taskrunner.schema.task import submission_of as submission_of
    from taskrunner.steps.runner import StepRunner as StepRunner
    from taskrunner.steps.sandbox import RunningStep as RunningStep
    from taskrunner.steps.sandbox import StepCommand as StepCommand
    from taskrunner.steps.sandbox import StepSandbox as StepSandbox
    from taskrunner.steps.specification import StepSpec as StepSpec
    from taskrunner.steps.specification import step_complaints as step_complaints
    from taskrunner.steps.step_files import StepFiles as StepFiles
    from taskrunner.stores.folder import FolderStore as FolderStore
    from taskrunner.worker.door.report import ResourceReport as ResourceReport
    from taskrunner.worker.door.report import RunReport as RunReport
    from taskrunner.worker.door.report import WorkerReport as WorkerReport
    from taskrunner.worker.start import run_worker as run_worker
    from taskrunner.worker.start import services as services
    from taskrunner.worker.stop_condition import StopCondition as StopCondition
    from taskrunner.worker.worker import Worker as Worker

__all__ = [  # noqa: RUF022  under headings
    # To run a worker
    "Config", "Observer", "ResourceReport", "RunReport", "RunView", "StopCondition", "TaskRun", "Worker",
    "WorkerReport", "WorkerView", "home", "run_worker", "services",
    # To write a platform, an engine, a host, a queue or a store
    "ArtifactStore", "ArtifactStream", "CacheFolder", "Caches", "Capabilities", "Credits", "Engine", "Entry", "Exec",
    "Execution", "FolderResults", "Host", "Input", "Lease", "Leave", "Log", "LogOrigin", "Missing",
    "NoOptions", "Offer", "OfferRefused", "Peer", "Platform", "PlatformContext", "PluginContext", "ProxyHandler",
    "PushSource", "Queue", "QueueContext", "QueueFile", "Results", "Room", "RunContext", "Service", "Size", "Slots",
    "SourceLimits", "SourceOptions", "Submitter", "Taken",
    "INDEX_NAME", "LOG_NAME", "RETRIED", "check_artifact_name", "check_submission", "coroutine_platform",
    "proxy_variable", "run_blocking",
    # To give a platform steps
    "RunningStep", "StepCommand", "StepFiles", "StepRunner", "StepSandbox", "StepSpec", "step_complaints",
    # What is plugged in by default
    "FolderStore", "MemoryQueue", "PushQueue", "SqliteQueue",
    # The machines
    "Attempt", "Chart", "Driver", "Load", "Machine", "Refused", "Row", "Signal", "Step", "Table", "TaskChart",
    "TaskEvent", "TaskMachine", "WorkerChart", "WorkerEvent", "WorkerMachine", "declare", "read_table",
    # The words
    "Amounts", "Artifact", "ArtifactSpec", "CacheSpec", "Claim", "Health", "MountSpec", "Move", "Notice", "Progress",
    "Resolution", "RunKey", "RunStatus", "RunStory", "Secret", "ServiceSpec", "Source", "StateVisit", "Submission",
    "Task", "TaskStatus", "submission_of",
    # What can go wrong
    "Bug", "ClaimLost", "Complaint", "ConfigError", "Conflict", "MachineFault", "MalformedPayload", "NotSupported",
    "Reject", "RunLost", "TaskFailed", "TaskFailedInternally", "TaskrunnerError", "Unavailable", "UnknownTask",
    "WorkerBroken", "local_failure",
]  # fmt: skip

_HOMES = {
    "amounts": ["Amounts", "Room"],
    "blocking": ["run_blocking"],
    "config.config": ["Config"],
    "coroutine": ["coroutine_platform"],
    "driver": ["Driver", "Step"],
    "config.environment": ["home"],
    "files.results": ["FolderResults"],
    "errors": [
        "Bug", "ClaimLost", "Complaint", "ConfigError", "Conflict", "MachineFault", "MalformedPayload", "NotSupported",
        "Reject", "RunLost", "TaskFailed", "TaskFailedInternally", "TaskrunnerError", "Unavailable", "UnknownTask",
        "WorkerBroken", "local_failure",
    ],
    "interfaces.artifacts": ["INDEX_NAME", "LOG_NAME", "ArtifactStore", "Missing", "check_artifact_name"],
    "interfaces.attachments": ["ProxyHandler", "Service", "proxy_variable"],
    "interfaces.caches": ["CacheFolder", "Caches", "Lease"],
    "interfaces.engine": ["Engine"],
    "interfaces.execution": ["Exec", "Execution", "Input", "Size"],
    "interfaces.host": ["Host", "Leave"],
    "interfaces.log": ["Log", "LogOrigin"],
    "interfaces.platform": ["Platform", "PlatformContext", "RunContext"],
    "interfaces.plugin": ["NoOptions", "PluginContext", "QueueContext"],
    "interfaces.push": ["ArtifactStream", "Credits", "Offer", "OfferRefused", "Peer", "PushSource", "Taken"],
    "interfaces.queue": ["Capabilities", "Queue", "Slots", "Submitter"],
    "interfaces.queue_file": ["QueueFile"],
    "interfaces.results": ["Entry", "Results"],
    "interfaces.source": ["SourceLimits", "SourceOptions"],
    "machines.chart": ["Chart", "Refused", "Signal"],
    "machines.machine": ["Machine"],
    "machines.table": ["Row", "Table", "declare", "read_table"],
    "machines.task": ["Attempt", "TaskChart", "TaskEvent", "TaskMachine"],
    "machines.worker": ["Load", "WorkerChart", "WorkerEvent", "WorkerMachine"],
    "model": [
        "RETRIED", "Artifact", "ArtifactSpec", "CacheSpec", "Claim", "Health", "MountSpec", "Move", "Notice",
        "Progress", "Resolution", "RunKey", "RunStatus", "RunStory", "Secret", "ServiceSpec", "Source", "StateVisit",
        "Submission", "Task", "TaskStatus",
    ],
    "worker.door.report": ["ResourceReport", "RunReport", "WorkerReport"],
    "runs.observer": ["Observer", "RunView", "WorkerView"],
    "schema.task": ["submission_of"],
    "steps.step_files": ["StepFiles"],
    "steps.runner": ["StepRunner"],
    "steps.sandbox": ["RunningStep", "StepCommand", "StepSandbox"],
    "steps.specification": ["StepSpec", "step_complaints"],
    "queues.memory": ["MemoryQueue"],
    "queues.push.queue": ["PushQueue"],
    "queues.sqlite.queue": ["SqliteQueue"],
    "queues.submission": ["check_submission"],
    "runs.run": ["TaskRun"],
    "worker.start": ["run_worker", "services"],
    "stores.folder": ["FolderStore"],
    "worker.stop_condition": ["StopCondition"],
    "worker.worker": ["Worker"],
}  # fmt: skip
"""Module to the public names that live there."""


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"taskrunner.{module}"), name)
    raise AttributeError(f"module taskrunner has no attribute {name!r}")
