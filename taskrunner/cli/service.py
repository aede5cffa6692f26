"""`taskrunner service`: the worker as a service of systemd or launchd."""

from __future__ import annotations

import asyncio
import pwd
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from taskrunner.cli.shared_options import check_file, config_option
from taskrunner.cli.verb import CommandError, check_stdout, verb
from taskrunner.config.environment import config_file, environment, home_path
from taskrunner.config.settings import load_settings
from taskrunner.service.description import (
    STOP_TIMEOUT,
    SYSTEM_CONFIG,
    SYSTEM_HOME,
    ServiceDescription,
    this_command,
)
from taskrunner.service.installation import Command, Installation
from taskrunner.service.unit_file import check_removable, write_unit

MANAGER_LIMIT = 25 * 3600.0
"""Seconds for one call of the service manager. It has limits of its own, the longest that of a worker's stop: a day."""

DEFAULT_ACCOUNT = "taskrunner"

name_option = click.option("--name", default="taskrunner", show_default=True, help="The name of the service.")
user_option = click.option(
    "--user", "user_service", is_flag=True, help="A service of yours; otherwise one of the machine, for which be root."
)
launchd_option = click.option(
    "--launchd/--systemd", default=sys.platform == "darwin", help="Otherwise that of this system."
)
root_option = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="In the system below this folder, which does not run: the image of a machine.",
)


def describing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what is printed and installed."""
    for option in reversed(
        (
            name_option,
            user_option,
            launchd_option,
            config_option,
            click.option(
                "--home",
                type=click.Path(file_okay=False, path_type=Path),
                metavar="DIR",
                help="The worker's home; otherwise /var/lib/NAME, with --user that of your workers.",
            ),
            click.option(
                "--run-as",
                metavar="ACCOUNT",
                help=f"The account of the worker; otherwise {DEFAULT_ACCOUNT}. Not with --user.",
            ),
            click.option("--group", metavar="GROUP", help="A further group of that account: docker. Not with --user."),
        )
    ):
        command = option(command)
    return command


@click.group("service")
def service_verb() -> None:
    r"""Run the worker as a service of systemd or launchd.

    \b
    Example:
      taskrunner service print --run-as ci --group docker
      sudo taskrunner service install --run-as ci --group docker
      taskrunner service install --user
    """


@service_verb.command("print")
@describing_options
@verb
async def print_verb(*, launchd: bool, **options: Any) -> None:
    r"""Print the unit, or with --launchd the property list, that `install` would write. Changes nothing.

    \b
    Example:
      taskrunner service print --user
    """
    check_stdout()
    click.echo(Installation(_described(must_exist=False, **options), launchd).text, nl=False)


@service_verb.command("install")
@describing_options
@root_option
@verb
async def install_verb(*, launchd: bool, root: Path | None, **options: Any) -> None:
    r"""Write the unit, and start the service, now and whenever the machine starts.

    May be called again, also with other options: a unit that changes is replaced, and the worker that runs keeps the
    old one until it is restarted. A unit that was edited, or that something else has made, is never replaced.

    \b
    Example:
      sudo taskrunner service install --run-as ci --group docker
    """
    installation = Installation(_described(must_exist=root is None, **options), launchd, root)
    if root is None:
        _check_account(installation.service)
    new = not installation.path.exists()
    if not write_unit(installation.path, installation.text):
        click.echo(f"{installation.path} is up to date")
    else:
        click.echo(f"{installation.path} was {'made' if new else 'changed: it holds after a restart of the service'}")
    await _call(installation.after_writing(new=new))


@service_verb.command("uninstall")
@name_option
@user_option
@launchd_option
@root_option
@verb
async def uninstall_verb(*, name: str, user_service: bool, launchd: bool, root: Path | None) -> None:
    r"""Stop the service, and remove its unit. The worker finishes what it runs, as after SIGTERM; its home stays.

    \b
    Example:
      sudo taskrunner service uninstall
    """
    installation = Installation(ServiceDescription((), name, user_service=user_service), launchd, root)
    if not check_removable(installation.path):
        click.echo(f"there is no {installation.path}")
        return
    await _call(installation.before_removing())
    installation.path.unlink()
    await _call(installation.after_removing())
    click.echo(f"{installation.path} was removed")


def _described(
    *,
    must_exist: bool,
    name: str,
    user_service: bool,
    config_path: Path | None,
    home: Path | None,
    run_as: str | None,
    group: str | None,
) -> ServiceDescription:
    """Raises CommandError, ConfigError."""
    if user_service and (run_as or group):
        raise CommandError("--run-as, --group: a service of yours runs as you: leave them out, or --user")
    config = config_path or (config_file(environment()) if user_service else SYSTEM_CONFIG)
    if must_exist:
        check_file(config)
    return ServiceDescription(
        command=this_command(),
        name=name,
        user_service=user_service,
        run_as="" if user_service else run_as or DEFAULT_ACCOUNT,
        group=group or "",
        config=config.absolute() if config else None,
        home=(home or (home_path() if user_service else SYSTEM_HOME / name)).absolute(),
        stop_timeout=_stop_timeout(config),
    )


def _stop_timeout(config: Path | None) -> float:
    """That of the configuration, if it is there and has one. Raises ConfigError for a configuration with mistakes."""
    known = load_settings(config, {}).config().stop_timeout if config and config.is_file() else None
    return STOP_TIMEOUT if known is None else known


def _check_account(service: ServiceDescription) -> None:
    """Raises CommandError when the service could not start."""
    if not service.run_as:
        return
    try:
        pwd.getpwnam(service.run_as)
    except KeyError:
        make = f"useradd --system --user-group --home-dir {service.home} {service.run_as}"
        raise CommandError(
            f"--run-as: there is no account {service.run_as}: make it ({make}), or name another"
        ) from None


async def _call(commands: Iterable[Command]) -> None:
    """Calls the service manager. Raises CommandError when it refuses."""
    for command in commands:
        if not shutil.which(command[0]):
            click.echo(f"there is no {command[0]} here: nothing was started or stopped")
            return
        process = await asyncio.create_subprocess_exec(*command)
        async with asyncio.timeout(MANAGER_LIMIT):
            status = await process.wait()
        if status:
            raise CommandError(f"{' '.join(command)}: ended with {status}; what it says stands above")
