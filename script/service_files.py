"""Makes the unit and the property list of the examples, and their blocks in docs/service.md, from what
`taskrunner service print` prints: `python script/service_files.py`.

A test fails when a file differs from its output.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from taskrunner.service.description import SYSTEM_CONFIG, SYSTEM_HOME, ServiceDescription
from taskrunner.service.launchd_plist import launchd_plist
from taskrunner.service.systemd_unit import systemd_unit

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "service.md"
SHOWN = ServiceDescription(
    ("/opt/taskrunner/bin/taskrunner",),
    run_as="ci",
    group="docker",
    config=SYSTEM_CONFIG,
    home=SYSTEM_HOME / "taskrunner",
)
FILES = {"examples/taskrunner.service": systemd_unit(SHOWN), "examples/taskrunner.plist": launchd_plist(SHOWN)}
"""By path, from the root of this repository."""


def page(text: str) -> str:
    """The page, with its blocks as they must be."""
    for path, content in FILES.items():
        block = rf"(<!-- example: {re.escape(path)} -->\n```\w+\n).*?(^```$)"
        text = re.sub(block, lambda found, new=content: found[1] + new + found[2], text, flags=re.DOTALL | re.MULTILINE)
    return text


def main() -> int:
    for path, text in FILES.items():
        (ROOT / path).write_text(text, encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
