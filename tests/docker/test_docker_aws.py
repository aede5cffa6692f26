"""The credentials of AWS: those of the worker's environment and of its `.env`, which `os.environ` does not have."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from botocore.exceptions import PartialCredentialsError, ProfileNotFound

from taskrunner.config.environment import environment
from taskrunner_docker.registry.aws_session import aws_session

DOTENV = "AWS_ACCESS_KEY_ID=AKIA-OF-DOTENV\nAWS_SECRET_ACCESS_KEY=sesame\nAWS_SESSION_TOKEN=session\n"
PROFILES = (
    "[default]\naws_access_key_id=D\naws_secret_access_key=d\n[ci]\naws_access_key_id=CI\naws_secret_access_key=c\n"
)


@pytest.fixture(autouse=True)
def _no_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.chdir(tmp_path)


def keys(variables: Mapping[str, str]) -> tuple[str, str, str | None] | None:
    found = aws_session(variables).get_credentials()
    return (found.access_key, found.secret_key, found.token) if found else None


def test_the_keys_of_dotenv_reach_boto3_and_not_the_environment(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(DOTENV)
    assert keys(environment()) == ("AKIA-OF-DOTENV", "sesame", "session")
    assert "AWS_ACCESS_KEY_ID" not in os.environ


def test_the_profile_of_dotenv_is_used_from_the_file_that_it_names(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(PROFILES)
    (tmp_path / ".env").write_text(f"AWS_PROFILE=ci\nAWS_SHARED_CREDENTIALS_FILE={tmp_path}/credentials\n")
    assert keys(environment()) == ("CI", "c", None)
    assert keys({"AWS_SHARED_CREDENTIALS_FILE": f"{tmp_path}/credentials"}) == ("D", "d", None)


def test_keys_win_over_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text(PROFILES)
    (tmp_path / ".env").write_text(f"AWS_PROFILE=ci\nAWS_SHARED_CREDENTIALS_FILE={tmp_path}/credentials\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA-OUTSIDE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "outside")
    assert keys(environment()) == ("AKIA-OUTSIDE", "outside", None)


def test_without_any_the_usual_chain_is_searched() -> None:
    assert keys({}) is None


def test_half_of_a_pair_and_an_unknown_profile_are_refused() -> None:
    with pytest.raises(PartialCredentialsError):
        aws_session({"AWS_ACCESS_KEY_ID": "AKIA"})
    with pytest.raises(ProfileNotFound):
        keys({"AWS_PROFILE": "nobody"})
