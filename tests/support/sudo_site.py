"""A machine with sudo, whose worker's user is not root: this one, with other mounts for what runs in it.

Debian's package is unpacked below the checkout. The accounts, the rule and the set-user-id program exist in a mount
namespace alone, so nothing of the machine is changed. Needs root, which may mount.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]
UNPACKED = ROOT / ".cache" / "sudo"
RULES = ROOT / "examples" / "sudoers"

WORKER, WORKER_ID = "taskrunner", 47000
ACCOUNTS = {"ci": 47001, "ci-1": 47002, "ci-2": 47003}

LIMIT = 240
"""Seconds for a command."""

SPY = "/usr/local/sbin/sudo"
"""In front of the real one: it keeps what every user of the machine can see of each call."""

SET_UP = r"""
set -e
mount -t tmpfs -o mode=0755 tmpfs "$SITE"
for name in etc root; do
    mkdir "$SITE/$name" "$SITE/$name.work"
    mount -t overlay -o "lowerdir=/$name,upperdir=$SITE/$name,workdir=$SITE/$name.work" overlay "/$name"
done
mkdir -p "$SITE/usr/local/sbin"
printf '#!/bin/sh\n{ echo "$@"; /usr/bin/env; } >>"%s"\nexec /usr/bin/sudo "$@"\n' "$SEEN" >"$SITE/usr/local/sbin/sudo"
chmod 755 "$SITE/usr/local/sbin/sudo"
mount -t overlay -o "lowerdir=$SITE/usr:$UNPACKED/usr:/usr" overlay /usr
chmod 711 /root
cp "$UNPACKED/etc/sudo.conf" /etc
cp "$UNPACKED"/etc/pam.d/* /etc/pam.d
cp "$RULES" /etc/sudoers
chmod 440 /etc/sudoers
cat "$SITE_ACCOUNTS/passwd" >>/etc/passwd
cat "$SITE_ACCOUNTS/group" >>/etc/group
cat "$SITE_ACCOUNTS/shadow" >>/etc/shadow
echo "127.0.0.1 $(hostname)" >>/etc/hosts
exec setpriv --reuid "$WORKER" --regid "$WORKER" --init-groups "$@"
"""


@attrs.define
class SudoSite:
    """Its folder can be reached by every user. `members` says whether the worker is in the groups of the accounts."""

    folder: Path
    rules: Path = RULES
    members: bool = True
    home: Path = attrs.field(init=False)
    seen: Path = attrs.field(init=False)
    """What was to be seen of each call of sudo: its arguments and its environment."""

    def __attrs_post_init__(self) -> None:
        _unpack()
        self.home, self.seen = self.folder / "home", self.folder / "seen"
        for name in ("home", "user"):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(0o755)
            os.chown(self.folder / name, WORKER_ID, WORKER_ID)
        self.seen.touch()
        self.seen.chmod(0o666)
        (self.folder / "site").mkdir()
        self._write_accounts()

    def _write_accounts(self) -> None:
        folder, users = self.folder / "accounts", {WORKER: WORKER_ID, **ACCOUNTS}
        folder.mkdir()
        homes = dict.fromkeys(users, "/nonexistent") | {WORKER: str(self.folder / "user")}
        lines = [f"{name}:x:{number}:{number}::{homes[name]}:/usr/sbin/nologin\n" for name, number in users.items()]
        (folder / "passwd").write_text("".join(lines))
        member = WORKER if self.members else ""
        (folder / "group").write_text("".join(f"{name}:x:{number}:{member}\n" for name, number in users.items()))
        (folder / "shadow").write_text("".join(f"{name}:*:19000::::::\n" for name in users))

    def command(self, *command: str) -> list[str]:
        """The command, as the worker's user on that machine."""
        return ["unshare", "--mount", "sh", "-c", SET_UP, "sh", *command]

    @property
    def variables(self) -> dict[str, str]:
        """The environment that its set-up needs."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "user"),
            "LANG": "C.UTF-8",
            "SITE": str(self.folder / "site"),
            "SITE_ACCOUNTS": str(self.folder / "accounts"),
            "SEEN": str(self.seen),
            "UNPACKED": str(UNPACKED),
            "RULES": str(self.rules),
            "WORKER": WORKER,
        }

    def call(self, function: str) -> None:
        """Calls `module:function` with the home, as the worker's user, in a process of its own. It is to end well."""
        module, _, name = function.partition(":")
        script = f"import sys, asyncio; from pathlib import Path; from {module} import {name} as function\n"
        script += f"asyncio.run(function(Path({str(self.home)!r})))"
        command = self.command(sys.executable, "-B", "-W", "error", "-c", script)
        variables = {**self.variables, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "engines")])}
        ended = subprocess.run(
            command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


def _unpack() -> None:
    if (UNPACKED / "usr/bin/sudo").exists():
        return
    part = UNPACKED.with_name(f"sudo.{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for command in (["apt-get", "download", "sudo"], ["sh", "-c", "dpkg-deb -x sudo_*.deb ."]):
        subprocess.run(command, cwd=part, check=True, capture_output=True, timeout=LIMIT)
    try:
        part.rename(UNPACKED)
    except OSError:  # another test was faster
        shutil.rmtree(part)
