"""The one error of an archive that is not unpacked: `source-refused`, with the member and what is wrong with it."""

from __future__ import annotations

from taskrunner.errors import TaskFailed

REASON = "source-refused"
_LONGEST_SHOWN = 200
"""Characters of a name in an error: more than real names have, and too few to flood a log."""


def member_refused(name: str, problem: str) -> TaskFailed:
    """`unpack: "a/../b" has a part ".."`."""
    return TaskFailed(REASON, f"unpack: {shown(name)} {problem}")


def archive_refused(problem: str) -> TaskFailed:
    """`unpack: the archive is empty`."""
    return TaskFailed(REASON, f"unpack: the archive {problem}")


def shown(name: str) -> str:
    """A name in quotation marks that draws nothing over a terminal: what cannot be printed is `�`."""
    clean = "".join(letter if letter.isprintable() else "�" for letter in name[: _LONGEST_SHOWN + 1])
    return f'"{clean[:_LONGEST_SHOWN]}…"' if len(clean) > _LONGEST_SHOWN else f'"{clean}"'
