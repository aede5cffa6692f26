"""The file of a service on disk, which is replaced or removed only as this program has written it.

The first comment of the file has the digest of the rest. A file whose digest does not fit was edited by the operator,
and one without it was written by somebody else: both are his, and an error shows how they differ.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from pathlib import Path

from taskrunner.errors import ConfigError

_MARK = re.compile(r"(?:# |<!-- )Made by `taskrunner service install`, sha256 ([0-9a-f]{64})(?: -->)?\n")


def marked(text: str) -> str:
    """The text with its digest in a comment: at the top, of XML after the declaration."""
    line = f"Made by `taskrunner service install`, sha256 {hashlib.sha256(text.encode()).hexdigest()}"
    if not text.startswith("<?xml"):
        return f"# {line}\n{text}"
    declaration, rest = text.split("\n", 1)
    return f"{declaration}\n<!-- {line} -->\n{rest}"


def write_unit(path: Path, text: str) -> bool:
    """Writes the file, unless it is there with the same content. Returns whether it was written.

    Raises: ConfigError when the file is not as this program has written it, OSError.
    """
    new = marked(text)
    if (old := _read(path)) == new:
        return False
    if old is not None:
        _check_own(path, old, new)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(new, "utf-8")
    beside.chmod(0o644)
    os.replace(beside, path)  # noqa: PTH105  the atomic one, by its name
    return True


def check_removable(path: Path) -> bool:
    """Whether the file is there. Raises ConfigError when it is not as this program has written it."""
    old = _read(path)
    if old is not None:
        _check_own(path, old, _MARK.sub("", old, count=1))
    return old is not None


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeError:
        raise ConfigError(f"{path}: was not made by this program: remove it, or choose another --name") from None


def _check_own(path: Path, old: str, new: str) -> None:
    mark = _MARK.search(old)
    rest = _MARK.sub("", old, count=1)
    if mark and hashlib.sha256(rest.encode()).hexdigest() == mark[1]:
        return
    what = "was edited since it was made" if mark else "was not made by this program"
    fix = "remove it first, and keep changes of your own in a drop-in (systemctl edit); or choose another --name"
    raise ConfigError("\n".join([f"{path}: {what}: {fix}", *_difference(path, old, new)]))


def _difference(path: Path, old: str, new: str) -> list[str]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), str(path), "as it would be", lineterm="")
    return list(lines)
