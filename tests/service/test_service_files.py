"""The units and property lists: what is in them, and which files are replaced or removed."""

from __future__ import annotations

import plistlib
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from taskrunner.cli import taskrunner
from taskrunner.errors import ConfigError
from taskrunner.service.description import ServiceDescription
from taskrunner.service.installation import Installation
from taskrunner.service.launchd_plist import launchd_plist
from taskrunner.service.systemd_unit import systemd_unit
from taskrunner.service.unit_file import marked

ODD = Path("/srv/a b/%h $HOME 'x\"\\")
NEWER = {"Delegate", "DelegateSubgroup"}
"""Keys that an older systemd-analyze does not know."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The root of a machine that does not run."""
    (tmp_path / "root/etc/systemd/system").mkdir(parents=True)
    return tmp_path / "root"


def service(verb: str, *arguments: str, status: int = 0) -> Result:
    done = CliRunner().invoke(taskrunner, ["service", verb, *arguments])
    assert done.exit_code == status, done.output
    return done


def unit_in(root: Path) -> Path:
    return root / "etc/systemd/system/taskrunner.service"


# ---- what is in them ------------------------------------------------------------------------------------


@pytest.mark.parametrize("user_service", [True, False])
@pytest.mark.parametrize("home", [Path("/var/lib/taskrunner"), ODD])
def test_systemd_finds_no_fault_in_a_unit(tmp_path: Path, home: Path, *, user_service: bool) -> None:
    true = shutil.which("true")
    assert true
    described = ServiceDescription((true,), user_service=user_service, run_as="daemon", config=ODD, home=home)
    unit = tmp_path / "taskrunner.service"
    unit.write_text(systemd_unit(described))
    kind = ["--user"] if user_service else []
    done = subprocess.run(
        ["systemd-analyze", *kind, "--man=no", "--recursive-errors=no", "verify", unit],
        check=False, capture_output=True, text=True, timeout=60, env={"XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    faults = [line for line in done.stderr.splitlines() if "taskrunner.service" in line]
    assert [line for line in faults if "'DelegateSubgroup'" not in line] == []


def test_launchd_reads_the_property_list() -> None:
    job = plistlib.loads(launchd_plist(ServiceDescription(("/bin/x",), run_as="ci", home=ODD)).encode())
    assert job["ProgramArguments"] == ["/bin/x", "run"]
    assert job["EnvironmentVariables"] == {"TASKRUNNER_HOME": str(ODD), "TASKRUNNER_STOP_TIMEOUT": "660"}
    assert job["ExitTimeOut"] == 660
    assert job["UserName"] == "ci"


def test_a_property_list_with_its_mark_is_still_one() -> None:
    text = marked(launchd_plist(ServiceDescription(("/bin/x",))))
    assert plistlib.loads(text.encode())["Label"] == "taskrunner"


def test_print_shows_what_install_writes(root: Path) -> None:
    printed = service("print", "--systemd", "--run-as", "ci").output
    service("install", "--systemd", "--run-as", "ci", "--root", str(root))
    assert unit_in(root).read_text() == marked(printed)


def test_the_limit_of_a_stop_is_that_of_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "taskrunner.toml"
    config.write_text("stop_timeout = 90")
    printed = service("print", "--systemd", "--config", str(config)).output
    assert "\nTimeoutStopSec=90\n" in printed
    assert "\nEnvironment=TASKRUNNER_STOP_TIMEOUT=90\n" in printed


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"name": "../x"}, "--name: '../x'"),
        ({"name": "a\nUser=root"}, "--name"),
        ({"run_as": "ci\nExecStartPre=/bin/x"}, "--run-as"),
        ({"group": "a b"}, "--group"),
        ({"home": Path("relative")}, "--home: 'relative' is no full path"),
        ({"config": Path("/etc/x\nUser=root")}, "--config"),
    ],
)
def test_what_no_unit_can_have_is_refused(fields: dict[str, str], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        ServiceDescription(("/bin/x",), **fields)  # type: ignore[arg-type]


# ---- installing -----------------------------------------------------------------------------------------


def test_a_service_is_enabled_in_the_image_of_a_machine(root: Path) -> None:
    wanted = root / "etc/systemd/system/multi-user.target.wants/taskrunner.service"
    service("install", "--systemd", "--root", str(root))
    assert wanted.is_symlink()
    assert "up to date" in service("install", "--systemd", "--root", str(root)).output
    assert "was changed" in service("install", "--systemd", "--group", "docker", "--root", str(root)).output
    service("uninstall", "--systemd", "--root", str(root))
    assert not wanted.is_symlink()
    assert not unit_in(root).exists()
    assert "there is no" in service("uninstall", "--systemd", "--root", str(root)).output


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_unit_that_was_edited_is_left_alone(root: Path, verb: str) -> None:
    service("install", "--systemd", "--root", str(root))
    edited = unit_in(root).read_text().replace("User=taskrunner", "User=me")
    unit_in(root).write_text(edited)
    said = service(verb, "--systemd", "--root", str(root), status=2).output
    assert "was edited since it was made" in said
    assert ("-User=me\n+User=taskrunner\n" in said) == (verb == "install")
    assert unit_in(root).read_text() == edited


@pytest.mark.parametrize("verb", ["install", "uninstall"])
@pytest.mark.parametrize("content", [b"[Service]\nExecStart=/bin/x\n", b"\xff"])
def test_a_unit_of_somebody_else_is_left_alone(root: Path, verb: str, content: bytes) -> None:
    unit_in(root).write_bytes(content)
    assert "was not made by this program" in service(verb, "--systemd", "--root", str(root), status=2).output
    assert unit_in(root).read_bytes() == content


def test_a_property_list_is_written_and_removed(root: Path) -> None:
    service("install", "--launchd", "--root", str(root))
    path = root / "Library/LaunchDaemons/taskrunner.plist"
    assert plistlib.loads(path.read_bytes())["UserName"] == "taskrunner"
    service("uninstall", "--launchd", "--root", str(root))
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--user", "--run-as", "ci"], "a service of yours runs as you"),
        (["--config", "/nowhere.toml"], "there is no file /nowhere.toml"),
        (["--root", "/nowhere"], "there is no folder /nowhere"),
        (["--user", "--root", "/"], "not with --user"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_made(arguments: list[str], complaint: str) -> None:
    assert complaint in service("install", "--systemd", *arguments, status=2).output


def test_an_account_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "taskrunner.toml"
    config.touch()
    said = service("install", "--systemd", "--config", str(config), "--run-as", "no-such-user", status=2).output
    assert "useradd --system --user-group --home-dir /var/lib/taskrunner no-such-user" in said


def test_a_service_of_launchd_has_its_own_domain() -> None:
    installation = Installation(ServiceDescription(("/bin/x",)), launchd=True)
    assert installation.after_writing(new=True) == [
        ("launchctl", "bootstrap", "system", "/Library/LaunchDaemons/taskrunner.plist")
    ]
    assert installation.before_removing() == [("launchctl", "bootout", "system/taskrunner")]
