"""The files of the task's source in the run's folder."""

from __future__ import annotations

from importlib.util import find_spec

from taskrunner.errors import TaskFailed, TaskFailedInternally
from taskrunner.interfaces.platform import RunContext
from taskrunner_process.account import Account
from taskrunner_process.command import TEMPORARY


async def check_out(context: RunContext, account: Account | None) -> None:
    """Writes them, for the account that the run has. Git does not report what the worker puts beside them.

    Raises: MalformedPayload, TaskFailed (`clone-failed`), TaskFailedInternally, Unavailable.
    """
    if find_spec("dulwich") is None:
        raise TaskFailedInternally(
            "this worker cannot fetch a `source`: dulwich is not installed here: pip install 'taskrunner-worker[git]'"
        )
    from taskrunner_git import checkout

    owner = (account.uid, account.gid) if account else None
    caches = (cache.path for cache in context.task.caches)
    await checkout(context, context.folder, owner=owner, ignored=(TEMPORARY, *caches))
    temporary = context.folder / TEMPORARY
    if temporary.is_symlink() or (temporary.exists() and not temporary.is_dir()):
        what = f"the commit has a file {TEMPORARY}, which is the run's folder for temporary files"
        raise TaskFailed("clone-failed", f"clone: {what}")
