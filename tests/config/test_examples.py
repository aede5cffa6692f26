"""Every example runs, and every block of README and docs that is marked as an example is equal to its file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from script.base_image import IMAGE, ensure_base_image
from taskrunner.config.plugins import load_platform, payload_classes, platforms
from taskrunner.config.settings import load_settings
from taskrunner.schema.check import check_task
from taskrunner.schema.parse import parse_document, read_document
from taskrunner.schema.task import decode_task

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TASKS = EXAMPLES / "tasks"
"""Where tasks are run: the folder above has the configuration of a worker whose secrets do not exist here."""
TASKRUNNER = Path(sys.executable).with_name("taskrunner")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"<!-- example: (\S+) -->\n+```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LIMIT = 300.0
"""Seconds for one program; only a broken one reaches it."""


def blocks() -> Iterator[tuple[str, str, str]]:
    for page in PAGES:
        for path, text in BLOCK.findall(page.read_text()):
            yield page.name, path, text


def run(
    *command: object, home: Path, folder: Path = EXAMPLES, env: Mapping[str, str] | None = None, status: int = 0
) -> str:
    """The output of a program that runs on its own home."""
    variables = {**os.environ, **(env or {}), "TASKRUNNER_HOME": str(home)}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---- what the pages show --------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "path", "text"), list(blocks()))
def test_a_block_is_a_part_of_its_file(page: str, path: str, text: str) -> None:
    assert text in (ROOT / path).read_text(), f"{page}: the block is not a part of {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_mark_has_a_block(page: Path) -> None:
    text = page.read_text()
    assert text.count("<!-- example:") == len(BLOCK.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_to_a_file_has_a_target(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_example_is_shown_or_named_in_a_page() -> None:
    text = "".join(page.read_text() for page in PAGES)
    files = (path for path in EXAMPLES.iterdir() if not path.name.startswith((".", "__")))
    assert [path.name for path in files if f"examples/{path.name}" not in text] == []


COMMENTS = {".py": '"""', ".toml": "# ", ".yaml": "# ", ".service": "# "}
"""How a file begins that says what it is for, by its kind."""


@pytest.mark.parametrize(
    "path", sorted(path for path in EXAMPLES.rglob("*.*") if path.suffix in COMMENTS), ids=lambda path: path.name
)
def test_an_example_begins_with_its_purpose(path: Path) -> None:
    assert path.read_text().startswith(COMMENTS[path.suffix])


# ---- tasks and configurations ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((EXAMPLES / "tasks").iterdir()), ids=lambda path: path.name)
def test_a_task_file_is_valid(path: Path) -> None:
    task, payload = check_task(read_document(path), platforms())
    assert isinstance(payload, load_platform(task.platform).payload)


def tasks_in_pages() -> Iterator[tuple[str, str]]:
    """All but the task of the script platform, which is not installed here and runs below."""
    for page in PAGES:
        for form, text in re.findall(r"^```(toml|yaml|json)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            if re.search(r"^\W*platform\W+(process|docker)\b", text, re.MULTILINE):
                yield form, text


@pytest.mark.parametrize(("form", "text"), list(tasks_in_pages()))
def test_a_task_in_a_page_is_valid(form: str, text: str) -> None:
    assert decode_task(parse_document(text, "page", form), payload_classes())


def test_the_configuration_is_valid() -> None:
    config = load_settings(EXAMPLES / "taskrunner.toml", {}).config()
    assert config.capacity == 4
    assert config.options(load_platform("docker"))


def test_the_process_task_runs(tmp_path: Path) -> None:
    output = run(TASKRUNNER, "run", "--task", "process.toml", home=tmp_path, folder=TASKS)
    assert "hello" in output
    assert "kept out/report.txt as public/report.txt" in output


def test_the_task_of_steps_runs(tmp_path: Path) -> None:
    said = run(TASKRUNNER, "run", "--task", "steps.toml", home=tmp_path, folder=TASKS, status=1)
    assert "testing 1.4.2 in mode release" in said
    assert "1 of 3 tests failed" in said
    outcomes = ["success", "failed", "skipped", "success", "success"]
    titles = ["build", "test", "publish", "report", "clean up"]
    for number, (title, outcome) in enumerate(zip(titles, outcomes, strict=True), 1):
        assert f"step {number}/5 {title}: {outcome}" in said
    assert "kept report.txt as public/report.txt" in said


@pytest.fixture
def busybox() -> Iterator[None]:
    """The image of the example. Where it cannot be pulled, the base image of the tests, which is busybox too."""
    client = docker.from_env(timeout=60)
    ensure_base_image()
    name = "busybox:1.36"
    try:
        client.images.get(name)
        tagged = False
    except ImageNotFound:
        tagged = client.images.get(IMAGE).tag(name)
    yield
    if tagged:
        client.images.remove(name)
    client.close()


@pytest.mark.usefixtures("busybox")
def test_the_container_task_runs(tmp_path: Path) -> None:
    for count in (1, 2):  # nine bytes each: the second run finds those of the first in the cache
        output = run(TASKRUNNER, "run", "--task", "docker-run.yaml", home=tmp_path, folder=TASKS)
        assert f"bytes: {9 * count}\n" in output


# ---- programs -------------------------------------------------------------------------------------------


def test_a_worker_inside_a_program_runs_its_task(tmp_path: Path) -> None:
    assert run(sys.executable, "own_worker.py", home=tmp_path) == "completed\n"
    assert "[taskrunner] hello world" in (tmp_path / "runs/hello/0/log").read_text()


def test_the_host_runs_a_submitted_task(tmp_path: Path) -> None:
    task_id = run(TASKRUNNER, "submit", "tasks/process.toml", home=tmp_path).strip()
    assert run(sys.executable, "host.py", home=tmp_path) == "stopped: nothing to do for 1 s\n"
    assert "completed" in run(TASKRUNNER, "show", task_id, home=tmp_path)


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("test_*.py")), ids=lambda path: path.name)
def test_a_test_passes(path: Path, tmp_path: Path) -> None:
    """Run as its reader would: with only the files beside it on the path."""
    pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".")
    output = run(
        *pytest_, "--basetemp", tmp_path / "t", "-W", "error", path.name, home=tmp_path / "h", folder=path.parent
    )
    assert " passed" in output


def test_a_package_with_a_platform_is_found_by_its_entry_point(tmp_path: Path) -> None:
    install = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target")
    run(sys.executable, *install, tmp_path / "lib", "./script_platform", home=tmp_path)
    output = run(
        TASKRUNNER, "run", "--task", "count.toml",
        home=tmp_path / "home", folder=EXAMPLES / "script_platform", env={"PYTHONPATH": str(tmp_path / "lib")},
    )  # fmt: skip
    assert "3 of 3" in output


def test_each_way_through_the_house_has_at_most_ten_files() -> None:
    _, *ways = (ROOT / "docs" / "house.md").read_text().split("\n## ")
    files = {way.splitlines()[0]: set(re.findall(r"\]\(\.\./([^)]+\.py)\)", way)) for way in ways}
    assert list(files) == ["A claim", "A payload", "A pushed run", "A secret", "A byte of the log", "An error"]
    assert all(4 <= len(named) <= 10 for named in files.values()), files


def test_each_package_has_a_line_in_the_house() -> None:
    page = (ROOT / "docs" / "house.md").read_text()
    packages = {path.parent.name for path in (ROOT / "taskrunner").glob("*/__init__.py")}
    assert [name for name in sorted(packages) if f"| `taskrunner/{name}` |" not in page] == []
