"""`taskrunner config check`: checks a worker's configuration and prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.shared_options import config_option, host_option, load_config, queue_option
from taskrunner.cli.verb import verb
from taskrunner.config.choice import CHOICES
from taskrunner.config.config import Config
from taskrunner.config.environment import config_file, environment, home
from taskrunner.config.opening import full_config, open_host
from taskrunner.config.plugins import load_platform, platforms
from taskrunner.config.queue_url import public_url
from taskrunner.config.resource_options import ResourceOptions
from taskrunner.config.secrets import Secrets, SecretSource
from taskrunner.interfaces.caches import CacheLimits
from taskrunner.interfaces.host import Host
from taskrunner.interfaces.source import SourceOptions
from taskrunner.model import Secret
from taskrunner.runs.observer import Observer
from taskrunner.state.worker_lock import WorkerLock
from taskrunner.state.worker_name import name_is_held
from taskrunner.worker.start import services


@click.group("config")
def config_verb() -> None:
    r"""Check a worker's configuration.

    It comes from taskrunner.toml, the host, .env, TASKRUNNER_* variables and flags; what comes later wins.

    \b
    Example:
      taskrunner config check
    """


@config_verb.command("check")
@config_option
@queue_option
@host_option
@verb
async def check_verb(config_path: Path | None, queue: str | None, host: str | None) -> int:
    r"""Read a worker's configuration as `run` does, open all that it names, and print what is in effect.

    Exits with 0 when a worker would start with it, with 2 when it has mistakes, each named by file and key, and with 4
    when what it names does not answer now. Values of secrets are never shown. Call it as the user of the worker: like
    the worker, it makes the files of the queue and the folder of the store.

    \b
    Example:
      taskrunner config check --config /etc/taskrunner.toml
    """
    settings = load_config(config_path, queue=queue, host=host)
    this_host = await open_host(settings, home())
    config = await full_config(settings, this_host)
    for line in _lines(config, config_path or config_file(environment()), this_host):
        click.echo(printable(line))
    for warning in _warnings(config):
        _Warnings().warn(warning)
    async with services(config, home(), observer=_Warnings()) as opened:
        WorkerLock(home(), opened.worker_id).release()
    return 0


class _Warnings(Observer):
    """What does not keep a worker from starting."""

    def warn(self, text: str) -> None:
        click.echo(printable(f"warning: {text}"), err=True)


def _warnings(config: Config) -> Iterator[str]:
    yield from Secrets(config.secrets, environment()).warnings()
    if config.worker_id and name_is_held(home(), config.worker_id):
        yield f"{config.place('worker_id')}: a worker named {config.worker_id} runs now; a second one would not start"


def _lines(config: Config, file: Path | None, host: Host) -> Iterator[str]:
    yield (
        f"# read from {file}" if file else "# no file: ./taskrunner.toml and the one in the config folder are not there"
    )
    yield f"# home: {home()}"
    yield f"# platforms installed: {', '.join(platforms())}"
    yield f"# this machine: {', '.join(f'{label} {value}' for label, value in host.identity.items())}"
    yield f"capacity = {config.capacity}"
    yield from (f"worker_id = {_value(config.worker_id)}",) if config.worker_id else ()
    yield f"queue = {_value(public_url(config.queue_url(home())))}"
    yield f"store = {_value(config.store)}"
    yield f"host = {_value(config.host)}"
    yield f"lease = {config.lease:g}"
    yield from (f"stop_timeout = {config.stop_timeout:g}",) if config.stop_timeout is not None else ()
    yield f"min_free_disk = {config.min_free_disk}"
    yield f"max_artifact_size = {config.max_artifact_size}"
    yield from _resource_lines(config.resources)
    for name, limits in (("caches", config.caches), ("retention", config.retention)):
        if limits not in {None, CacheLimits()}:
            yield from ("", f"[{name}]")
            yield from (f"{key} = {_value(value)}" for key, value in _fields(limits).items() if value is not None)
    if config.secrets:
        yield from ("", "[secrets]")
        yield from (f"{_key(name)} = {_source(source)}" for name, source in config.secrets.items())
    for path, table in _tables(config).items():
        yield from ("", f"[{path}]")
        yield from (f"{key} = {_value(value)}" for key, value in _fields(table).items())


def _resource_lines(resources: ResourceOptions) -> Iterator[str]:
    if resources == ResourceOptions():
        return
    yield from ("", "[resources]")
    yield from (f"{name} = {_value(amount)}" for name, amount in resources.items.items())
    for name, amounts in (("default", resources.default), ("maximum", resources.maximum)):
        if amounts.items:
            yield f"{name} = {_value(amounts.items)}"


def _tables(config: Config) -> dict[str, object]:
    """The decoded tables, by their names in the file."""
    found: dict[str, object] = {"source": config.source} if config.source != SourceOptions() else {}
    found |= {_key(name): config.options(load_platform(name)) for name in config.tables}
    for key, tables in config.plugin_tables.items():
        for name in tables:
            plugin = CHOICES[key].plugins()[name]
            found[f"{key}.{_key(name)}"] = config.plugin_options(key, name, plugin)
    return found


def _source(source: SecretSource) -> str:
    """The source of a secret; one that the file itself contains is masked."""
    if source.literal:
        return '"***"'
    return f"{{env = {_value(source.env)}}}" if source.env else f"{{file = {_value(source.file)}}}"


def _value(value: Any) -> str:
    """A decoded value in the syntax of TOML, and secrets as `***`."""
    if isinstance(value, Secret):
        return f"{{secret = {_value(value.name)}}}" if value.name else '"***"'
    if attrs.has(type(value)):
        value = _fields(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_value(each)}" for key, each in value.items() if each not in (None, ""))
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False, default=str)


def _fields(value: Any) -> dict[str, Any]:
    return attrs.asdict(value, recurse=False)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)
