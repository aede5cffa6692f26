"""The files to which a step writes outputs and variables: `$TASKRUNNER_OUTPUT` and `$TASKRUNNER_ENV`.

Their form is GitHub's: a line `NAME=value`, or for a value of several lines::

    NAME<<END
    the first line
    the second
    END
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from taskrunner.limits import ENV_HINT, ENV_PATTERN, MAX_STEP_FILE

_BEGIN = re.compile(r"(.*?)(=|<<)(.*)", re.DOTALL)


class AssignmentError(ValueError):
    """A malformed file. The text says which line, and shows nothing of it, since it may hold a secret."""


def parse_assignments(data: bytes) -> dict[str, str]:
    """Names to values; of two lines with one name the later one counts. Raises AssignmentError."""
    if len(data) > MAX_STEP_FILE:
        raise AssignmentError(f"has more than {MAX_STEP_FILE >> 10} KiB: write the path of another file")
    if b"\0" in data:
        raise AssignmentError("has a zero byte")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise AssignmentError("is not UTF-8") from None
    return dict(_assignments(text.split("\n")))


def _assignments(lines: list[str]) -> Iterator[tuple[str, str]]:
    numbered = iter(enumerate((line.removesuffix("\r") for line in lines), 1))
    for number, line in numbered:
        if not line.strip():
            continue
        found = _BEGIN.fullmatch(line)
        if not found:
            raise AssignmentError(f"line {number}: write NAME=value, or NAME<<END and the lines up to END")
        name, sign, rest = found.groups()
        if not re.fullmatch(ENV_PATTERN, name):
            raise AssignmentError(f"line {number}: {ENV_HINT}")
        yield name, rest if sign == "=" else "\n".join(_block(numbered, number, rest))


def _block(lines: Iterator[tuple[int, str]], begin: int, end: str) -> Iterator[str]:
    if not end:
        raise AssignmentError(f"line {begin}: name the line that ends the value after `<<`")
    for _, line in lines:
        if line == end:
            return
        yield line
    raise AssignmentError(f"line {begin}: the line that ends this value is missing")
