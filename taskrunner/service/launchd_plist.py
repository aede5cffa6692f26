"""The property list of a worker for launchd."""

from __future__ import annotations

import plistlib
from pathlib import Path
from typing import Any

from taskrunner.service.description import RESTART_DELAY, ServiceDescription

_LOGS = Path("/Library/Logs")


def launchd_plist(service: ServiceDescription) -> str:
    """The text of the file. launchd has no watchdog and no exit status that ends the restarts: a worker with a wrong
    configuration is tried again after each `ThrottleInterval`."""
    return plistlib.dumps(_job(service), sort_keys=False).decode()


def _job(service: ServiceDescription) -> dict[str, Any]:
    log = str((Path.home() / _LOGS.relative_to("/") if service.user_service else _LOGS) / f"{service.name}.log")
    return {
        "Label": service.name,
        "ProgramArguments": list(service.run),
        "EnvironmentVariables": service.environment,
        **({"UserName": service.run_as} if service.run_as and not service.user_service else {}),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": RESTART_DELAY,
        "ExitTimeOut": round(service.stop_timeout),
        "ProcessType": "Standard",
        "StandardOutPath": log,
        "StandardErrorPath": log,
    }
