"""`taskrunner serve`: the tasks of this machine's queue over HTTP, for who is on another machine."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import attrs
import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.shared_options import config_option, load_config, queue_option, whole
from taskrunner.cli.verb import CommandError, verb
from taskrunner.config.environment import home
from taskrunner.config.opening import open_queue, plugin_context

DEFAULT = "http://127.0.0.1:8080"


@click.command("serve")
@click.option("--listen", metavar="URL", help=f"Where to listen; otherwise as configured, or {DEFAULT}.")
@config_option
@queue_option
@verb
async def serve_verb(*, listen: str | None, config_path: Path | None, queue: str | None) -> None:
    r"""Serve the tasks of a SQLite queue over HTTP, until a signal stops it. Runs nothing itself: the workers of the
    same queue on this machine do. `taskrunner run --queue http://...` is both in one process.

    Tokens and certificates are set in [queue.http.listen] of the configuration, or [queue.https.listen].

    \b
    Example:
      taskrunner serve --listen http://0.0.0.0:8080
      taskrunner submit hello.toml --queue http://that-machine:8080
    """
    config = await whole(load_config(config_path, queue=queue))
    url = served_url(config.queue_url(home()), listen)
    config = attrs.evolve(config, queue=url, places={**config.places, "queue": "--listen"})
    opened = await open_queue(config, plugin_context(config, home(), may_create=True))
    try:
        click.echo(f"taskrunner: serving at {printable(opened.address)}", err=True)
        await _stopped()
    finally:
        await opened.close()


def served_url(queue: str, listen: str | None) -> str:
    """The URL of the queue that serves another. Raises CommandError."""
    scheme = urlsplit(queue).scheme
    if scheme in {"http", "https"} and listen is None:
        return queue
    where = listen or DEFAULT
    if scheme != "sqlite" or not _is_address(where):
        raise CommandError("serve: --listen is http://HOST:PORT or https://HOST:PORT, and --queue sqlite:///PATH")
    return f"{where}?file={quote(unquote(urlsplit(queue).path))}"


def _is_address(url: str) -> bool:
    try:
        return urlsplit(url).scheme in {"http", "https"} and "?" not in url
    except ValueError:  # its brackets hold no IPv6 address
        return False


async def _stopped() -> None:
    """Returns at the first SIGTERM, SIGINT or SIGHUP."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()
