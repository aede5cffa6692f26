"""The unit of a worker for systemd. Its comments are a part of it: they are for whoever reads the unit."""

from __future__ import annotations

from taskrunner.service.description import RESTART_DELAY, SYSTEM_HOME, SYSTEM_SECRETS, WATCHDOG, ServiceDescription

_UNIT = """\
# A worker of taskrunner, as `taskrunner service print` prints it. Changes belong in a drop-in: `systemctl edit`.
[Unit]
Description=taskrunner worker
{after}
[Service]
# Ready after the cleanup of dead workers; `systemctl status` shows what the worker does.
Type=notify
{account}{environment}ExecStart={command}
# The heartbeat comes from the worker's own loop: a worker that hangs is killed and started again.
WatchdogSec={watchdog}
# SIGTERM: the worker finishes what it runs, and 30 seconds before the end of this time hands back what is left.
TimeoutStopSec={stop_timeout:g}
# Signals go to the worker only: it ends the processes of its tasks itself. What outlives the worker is killed.
KillMode=mixed
# The groups of tasks with limits stand beside that of the worker (systemd 254, control groups of version 2).
Delegate=yes
DelegateSubgroup=worker
# A worker that broke (exit status 4) is started again; one with a wrong configuration (2) is not.
Restart=on-failure
RestartSec={restart_delay}
RestartPreventExitStatus=2
{hardening}
[Install]
WantedBy={target}
"""

_AFTER = """\
Wants=network-online.target
After=network-online.target docker.service
"""
"""Only an order: a worker without Docker starts too, and one whose Docker restarts is not stopped with it."""

_HARDENING = """\
# Tasks do not see the processes of other users, and never change the kernel or the clock, also not by sudo.
ProtectProc=invisible
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_BOOT CAP_SYS_TIME CAP_SYS_RAWIO CAP_SYSLOG CAP_WAKE_ALARM
"""
"""Options that leave processes, sudo, toolchains and Docker as they are; docs/service.md says why no other is here. A
user's own manager may set none of them."""


def systemd_unit(service: ServiceDescription) -> str:
    """The text of the unit file."""
    return _UNIT.format(
        after="" if service.user_service else _AFTER,
        account="" if service.user_service else _account(service),
        environment="".join(f"Environment={_quoted(f'{k}={v}')}\n" for k, v in service.environment.items()),
        command=" ".join(_quoted(part).replace("$", "$$") for part in service.run),
        watchdog=WATCHDOG,
        stop_timeout=service.stop_timeout,
        restart_delay=RESTART_DELAY,
        hardening="" if service.user_service else _HARDENING,
        target="default.target" if service.user_service else "multi-user.target",
    )


def _account(service: ServiceDescription) -> str:
    lines = [f"User={service.run_as}"] if service.run_as else []
    lines += [f"SupplementaryGroups={service.group}"] if service.group else []
    if service.home and service.home.parent == SYSTEM_HOME:
        lines += [f"StateDirectory={service.home.name}", "StateDirectoryMode=0700"]
    lines += [
        "# Variables with the values of secrets: mode 600, readable by root alone.",
        f"EnvironmentFile=-{SYSTEM_SECRETS}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """One word of a unit: systemd expands `%`, and splits at white space outside of quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return escaped if escaped == text and not set(text) & set(" ';") else f'"{escaped}"'
