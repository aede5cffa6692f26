"""`taskrunner config check`: checks a worker's configuration and prints it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import public_url
from taskrunner.cli.exit_status import USAGE
from taskrunner.cli.shared_options import config_option, load_config, queue_option
from taskrunner.cli.verb import verb
from taskrunner.config.config import Config
from taskrunner.config.environment import config_file, environment, home
from taskrunner.config.plugins import load_platform, open_queue, platforms
from taskrunner.config.secrets import Secrets, SecretSource
from taskrunner.errors import ConfigError
from taskrunner.model import Secret


@click.group("config")
def config_verb() -> None:
    r"""Check a worker's configuration.

    It comes from taskrunner.toml, .env, TASKRUNNER_* variables and flags; what comes later wins.

    \b
    Example:
      taskrunner config check
    """


@config_verb.command("check")
@config_option
@queue_option
@verb
async def check_verb(config_path: Path | None, queue: str | None) -> int:
    r"""Read a worker's configuration as `run` does, check that its secrets have values, and print what is in effect.

    Exits with 0 when a worker would start with it, and with 2 when not. Each mistake is named by file and key. Values
    of secrets are never shown.

    \b
    Example:
      taskrunner config check --config /etc/taskrunner.toml
    """
    config = load_config(config_path, queue=queue)
    options = {name: config.options(load_platform(name)) for name in config.tables}
    secrets = Secrets(config.secrets, environment())
    await open_queue(config.queue_url(home())).close()
    for line in _lines(config, config_path or config_file(environment()), options):
        click.echo(printable(line))
    for warning in secrets.warnings():
        click.echo(f"warning: {warning}", err=True)
    try:
        secrets.check()
        _check_names(options, config.secrets)
    except ConfigError as error:
        click.echo(f"taskrunner: {error}", err=True)
        return USAGE
    return 0


def _check_names(options: Mapping[str, object], known: Mapping[str, SecretSource]) -> None:
    """Raises ConfigError with a line for each secret that a platform's table names and [secrets] lacks."""
    problems = [
        f"{_key(table)}: there is no secret named {secret.name} (add it to [secrets])"
        for table, value in options.items()
        for secret in _secrets(value)
        if secret.name and secret.name not in known
    ]
    if problems:
        raise ConfigError("\n".join(problems))


def _secrets(value: Any) -> Iterator[Secret]:
    """All secrets in a decoded value."""
    if isinstance(value, Secret):
        yield value
        return
    if attrs.has(type(value)):
        value = _fields(value)
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for each in inner:
        yield from _secrets(each)


def _lines(config: Config, file: Path | None, options: Mapping[str, object]) -> Iterator[str]:
    yield (
        f"# read from {file}" if file else "# no file: ./taskrunner.toml and the one in the config folder are not there"
    )
    yield f"# home: {home()}"
    yield f"# platforms installed: {', '.join(platforms())}"
    yield f"capacity = {config.capacity}"
    yield f"queue = {_value(public_url(config.queue_url(home())))}"
    yield f"lease = {config.lease:g}"
    yield f"min_free_disk = {config.min_free_disk}"
    if config.secrets:
        yield from ("", "[secrets]")
        yield from (f"{_key(name)} = {_source(source)}" for name, source in config.secrets.items())
    for name, table in options.items():
        yield from ("", f"[{_key(name)}]")
        yield from (f"{key} = {_value(value)}" for key, value in _fields(table).items())


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
