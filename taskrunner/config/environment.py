"""The environment of the worker: its variables, a `.env` file, and the folders that follow from them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from taskrunner.errors import ConfigError
from taskrunner.limits import ENV_PATTERN

_LINE = re.compile(rf"(?:export\s+)?({ENV_PATTERN})\s*=\s*(.*?)\s*")

_QUOTED = re.compile(r"'([^']*)'|\"([^\"\\$]*)\"")
"""What all shells and readers of `.env` files read alike. Escapes and `$NAME` differ among them and are refused."""


def environment(folder: Path | None = None) -> Mapping[str, str]:
    """The variables of the process, and those of `.env` in the folder (by default the working one) that are not set.

    They are never put into `os.environ`: every program that the worker starts would inherit them.

    Raises: ConfigError that names the file and the line.
    """
    return read_dotenv((folder or Path()) / ".env") | os.environ


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of a file of `NAME=value` lines; none if there is no file.

    Raises: ConfigError that names the line without quoting it.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({_why(error)}): make it a readable text file") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    return dict(_variable(line, f"{path}:{number}") for number, line in lines if line and not line.startswith("#"))


def _why(error: OSError | UnicodeError) -> str:
    """What is wrong with a file, without its contents."""
    return str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8"


def _variable(line: str, where: str) -> tuple[str, str]:
    match = _LINE.fullmatch(line)
    if not match:
        raise ConfigError(f"{where}: is not NAME=value: write a name of letters, digits and `_`, `=`, and the value")
    name, value = match.groups()
    if value[:1] not in {"'", '"'}:
        return name, value
    quoted = _QUOTED.fullmatch(value)
    if not quoted:
        raise ConfigError(f"{where}: {name} is quoted in a way that readers disagree on: use '...' without ' inside")
    return name, quoted[1] or quoted[2] or ""


def home(variables: Mapping[str, str] | None = None) -> Path:
    """The folder of everything that a worker keeps, see `home_path`. A missing one is made, for its owner only: it
    holds logs and spools.

    Raises: ConfigError.
    """
    folder = home_path(variables)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be made ({error.strerror}): set TASKRUNNER_HOME to a folder of yours"
        ) from None
    return folder


def home_path(variables: Mapping[str, str] | None = None) -> Path:
    """Where that folder is, or would be: TASKRUNNER_HOME, or one in the XDG data folder. Raises: ConfigError."""
    variables = environment() if variables is None else variables
    data = Path(variables.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    return Path(variables.get("TASKRUNNER_HOME") or data / "taskrunner").expanduser().absolute()


def config_file(variables: Mapping[str, str]) -> Path | None:
    """The configuration that applies when no flag names one: TASKRUNNER_CONFIG, else `./taskrunner.toml`, else the one
    in the XDG config folder."""
    if named := variables.get("TASKRUNNER_CONFIG"):
        return Path(named).expanduser()
    config = Path(variables.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    candidates = (Path("taskrunner.toml"), config / "taskrunner" / "taskrunner.toml")
    return next((path for path in candidates if path.is_file()), None)
