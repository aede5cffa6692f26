"""`taskrunner prune`: removes what the retention of the configuration says, now."""

from __future__ import annotations

from pathlib import Path

import click

from taskrunner.cli.display.sanitize import printable
from taskrunner.cli.display.text import byte_size
from taskrunner.cli.exit_status import NOTHING_DONE
from taskrunner.cli.shared_options import config_option, load_config, queue_option, whole
from taskrunner.cli.verb import CommandError, verb
from taskrunner.config.environment import home_path
from taskrunner.worker.retention.outcome import Pruned
from taskrunner.worker.retention.pruning import Pruning
from taskrunner.worker.start import services


@click.command("prune")
@click.option("--dry-run", is_flag=True, help="Remove nothing; print what would go.")
@config_option
@queue_option
@verb
async def prune_verb(config_path: Path | None, queue: str | None, *, dry_run: bool) -> int:
    r"""Remove logs, artifacts, tasks and caches that [retention] of the configuration keeps no longer.

    Safe beside workers that run: what is pending, running or in use stays. A worker with [retention] does the same by
    itself, when it starts and once an hour.

    \b
    Exit status:
      0    done
      1    something could not be removed, and is named
      2    the configuration has no [retention], or this home is being pruned already

    \b
    Example:
      taskrunner prune --dry-run
    """
    config = await whole(load_config(config_path, queue=queue))
    if config.retention is None:
        raise CommandError("the configuration does not say what to keep: add [retention], for instance `run_days = 30`")
    if not home_path().is_dir():
        raise CommandError(f"there is no folder {home_path()}, is TASKRUNNER_HOME right?")
    async with services(config, home_path()) as shared:
        pruning = Pruning(shared, config.retention, click.echo, dry_run=dry_run, open_platforms=True)
        outcome = await pruning.run()
    for problem in outcome.problems:
        click.echo(f"taskrunner: {printable(problem)}", err=True)
    click.echo(_summary(outcome, "would remove" if dry_run else "removed"))
    return NOTHING_DONE if outcome.problems else 0


def _summary(outcome: Pruned, verb: str) -> str:
    counts = {
        f"logs and artifacts of {outcome.runs} runs ({byte_size(outcome.size)})": outcome.runs,
        f"{outcome.expired} expired artifacts": outcome.expired,
        f"{outcome.tasks} tasks": outcome.tasks,
        f"the states of {outcome.journals} runs": outcome.journals,
        f"{outcome.caches} caches": outcome.caches,
    }
    return f"{verb} " + (", ".join(text for text, count in counts.items() if count) or "nothing")
