"""Secrets are revealed on request, and in no other way."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from taskrunner.config.secrets import MAX_SECRET, Secrets, SecretSource
from taskrunner.errors import ConfigError, MalformedPayload
from taskrunner.model import Secret


def test_values_come_from_variables_files_and_texts(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("from file\r\n")
    sources = {
        "env": SecretSource(env="TOKEN"),
        "file": SecretSource(file=str(file)),
        "text": SecretSource(literal="from text"),
    }
    values = Secrets(sources, {"TOKEN": "from env"})
    assert [values.reveal(Secret(name)) for name in sources] == ["from env", "from file", "from text"]
    assert values.reveal(Secret(literal="literal")) == "literal"
    assert values.problems() == []
    file.write_text("changed")
    assert values.reveal(Secret("file")) == "changed"
    assert repr(values) == "Secrets(env, file, text)"
    assert "from text" not in repr(sources)


def test_an_unknown_name_is_an_error_of_the_author() -> None:
    with pytest.raises(MalformedPayload, match="no secret named git") as caught:
        Secrets({"other": SecretSource(literal="hunter2")}, {}).reveal(Secret("git"))
    assert "other" not in str(caught.value), "authors of tasks do not see the names of other secrets"


def test_a_missing_value_is_an_error_of_the_operator(tmp_path: Path) -> None:
    large, binary, empty, pipe = (tmp_path / name for name in ("large", "binary", "empty", "pipe"))
    large.write_bytes(b"x" * (MAX_SECRET + 1))
    binary.write_bytes(b"\xffhunter2")
    empty.write_text("\n")
    os.mkfifo(pipe)
    sources = {"unset": SecretSource(env="UNSET")}
    sources |= {path.name: SecretSource(file=str(path)) for path in (large, binary, empty, pipe, tmp_path / "absent")}
    lines = Secrets(sources, {}).problems()
    assert [line.split(":")[0] for line in lines] == [f"secrets.{name}" for name in sources]
    assert "hunter2" not in str(lines)
    with pytest.raises(ConfigError) as caught:
        Secrets(sources, {}).reveal(Secret("binary"))
    assert caught.value.__context__ is None


def test_a_file_that_every_user_can_read_gives_a_warning(tmp_path: Path) -> None:
    open_to_all, private = tmp_path / "open", tmp_path / "private"
    for path, mode in ((open_to_all, 0o644), (private, 0o640)):
        path.write_text("x")
        path.chmod(mode)
    sources = {path.name: SecretSource(file=str(path)) for path in (open_to_all, private, tmp_path / "absent")}
    (line,) = Secrets(sources, {}).warnings()
    assert f"chmod 600 {open_to_all}" in line
