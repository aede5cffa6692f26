"""What an error of a plugin that is opened means for the worker, with the place of its key."""

from __future__ import annotations

from collections.abc import Callable

from taskrunner.blocking import OverLimit
from taskrunner.errors import ConfigError, MalformedPayload, TaskrunnerError, Unavailable, WorkerBroken


def explain(error: Exception, place: str, what: str, hide: Callable[[object], str] = str) -> TaskrunnerError:
    """A ConfigError (also for an error that no contract names), Unavailable or WorkerBroken, with the place in front.

    `what` names the plugin, and `hide` removes the secrets from a text.
    """
    match error:
        case ConfigError() | MalformedPayload():
            lines = hide(error).splitlines()
            return ConfigError("\n".join(line if line.startswith(place) else f"{place}: {line}" for line in lines))
        case WorkerBroken():
            return WorkerBroken(f"{place}: {hide(error)}")
        case Unavailable():
            return Unavailable(f"{place}: {hide(error)}", error.retry_after)
        case OverLimit():
            return Unavailable(f"{place}: {error}")
        case OSError():
            return Unavailable(f"{place}: {what} cannot be opened now: {hide(error)}")
    text = f"{type(error).__name__}: {hide(error)}"
    return ConfigError(f"{place}: {what} cannot be opened: {text} (correct its settings, or the package)")
