"""Every example runs, and every block in README and docs that says it is one, is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound

from script.base_image import IMAGE, ensure_base_image
from taskrunner.config.config import decode_config, load_settings
from taskrunner.config.plugins import load_platform, payload_classes
from taskrunner.schema.parse import parse_document, read_document
from taskrunner.schema.task import decode_task

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
TASKRUNNER = Path(sys.executable).with_name("taskrunner")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"<!-- example: (\S+) -->\n+```\w+\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LIMIT = 300.0
"""Seconds for one program; reached only by what is broken."""


def blocks() -> Iterator[tuple[str, str, str]]:
    for page in PAGES:
        for path, text in BLOCK.findall(page.read_text()):
            yield page.name, path, text


def run(
    *command: object, home: Path, folder: Path = EXAMPLES, env: Mapping[str, str] | None = None, status: int = 0
) -> str:
    """What a program prints, on a home of its own."""
    variables = {**os.environ, **(env or {}), "TASKRUNNER_HOME": str(home)}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=variables, capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


# ---- what the pages show --------------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "path", "text"), list(blocks()))
def test_a_block_is_its_file_or_a_part_of_it(page: str, path: str, text: str) -> None:
    assert text in (ROOT / path).read_text(), f"{page}: the block is not what stands in {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_mark_has_its_block(page: Path) -> None:
    text = page.read_text()
    assert text.count("<!-- example:") == len(BLOCK.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_example_is_shown_or_named_in_a_page() -> None:
    told = "".join(page.read_text() for page in PAGES)
    files = (path for path in EXAMPLES.iterdir() if not path.name.startswith((".", "__")))
    assert [path.name for path in files if f"examples/{path.name}" not in told] == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.*")), ids=lambda path: path.name)
def test_an_example_says_first_what_it_shows(path: Path) -> None:
    marks = {".py": '"""', ".toml": "# ", ".yaml": "# ", ".service": "# "}
    if mark := marks.get(path.suffix):
        assert path.read_text().startswith(mark)


# ---- tasks and configurations ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((EXAMPLES / "tasks").iterdir()), ids=lambda path: path.name)
def test_a_task_file_is_taken(path: Path) -> None:
    task, payload = decode_task(read_document(path), payload_classes())
    assert isinstance(payload, load_platform(task.platform).payload)
    load_platform(task.platform).check(object.__new__(load_platform(task.platform)), payload)


def tasks_in_pages() -> Iterator[tuple[str, str]]:
    """All but that of the script platform, which is not installed here; it is run below."""
    for page in PAGES:
        for form, text in re.findall(r"^```(toml|yaml|json)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            if re.search(r"^\W*platform\W+(process|docker)\b", text, re.MULTILINE):
                yield form, text


@pytest.mark.parametrize(("form", "text"), list(tasks_in_pages()))
def test_a_task_in_a_page_is_taken(form: str, text: str) -> None:
    assert decode_task(parse_document(text, "page", form), payload_classes())


def test_the_configuration_is_taken() -> None:
    config = decode_config(load_settings(EXAMPLES / "taskrunner.toml", {}))
    assert config.capacity == 4
    assert config.options(load_platform("docker"))


def test_the_pod_sees_the_home_under_one_path() -> None:
    pod: Any = read_document(EXAMPLES / "pod.yaml")
    mounts = [{each["name"]: each["mountPath"] for each in c["volumeMounts"]} for c in pod["spec"]["containers"]]
    assert mounts[0]["data"] == mounts[1]["data"]
    [home] = [each["value"] for each in pod["spec"]["containers"][0]["env"] if each["name"] == "TASKRUNNER_HOME"]
    assert Path(home).is_relative_to(mounts[0]["data"])


def test_the_process_task_runs(tmp_path: Path) -> None:
    said = run(TASKRUNNER, "run", "--task", "tasks/process.toml", home=tmp_path)
    assert "hello" in said
    assert "kept out/report.txt as public/report.txt" in said


@pytest.fixture
def busybox() -> Iterator[None]:
    """The image that the example names: where it cannot be pulled, the base image of the tests, which is busybox."""
    client = docker.from_env(timeout=60)
    ensure_base_image()
    name = "busybox:1.36"
    try:
        client.images.get(name)
        lent = False
    except ImageNotFound:
        lent = client.images.get(IMAGE).tag(name)
    yield
    if lent:
        client.images.remove(name)
    client.close()


@pytest.mark.usefixtures("busybox")
def test_the_container_task_runs(tmp_path: Path) -> None:
    for count in (1, 2):  # nine bytes each: the second finds what the first has left in the cache
        said = run(TASKRUNNER, "run", "--task", "tasks/docker-run.yaml", home=tmp_path)
        assert f"bytes: {9 * count}\n" in said


# ---- programs -------------------------------------------------------------------------------------------


def test_the_worker_in_a_program_runs_its_task(tmp_path: Path) -> None:
    assert run(sys.executable, "own_worker.py", home=tmp_path) == "completed\n"
    assert "[taskrunner] hello world" in (tmp_path / "runs/hello/0/log").read_text()


def test_the_host_runs_what_is_submitted(tmp_path: Path) -> None:
    task_id = run(TASKRUNNER, "submit", "tasks/process.toml", home=tmp_path).strip()
    assert run(sys.executable, "host.py", home=tmp_path) == "stopped: nothing to do for 1 s\n"
    assert "completed" in run(TASKRUNNER, "show", task_id, home=tmp_path)


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("test_*.py")), ids=lambda path: path.name)
def test_a_test_passes(path: Path, tmp_path: Path) -> None:
    """As its reader would run it: with the files beside it on the path, and no more."""
    pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".")
    said = run(
        *pytest_, "--basetemp", tmp_path / "t", "-W", "error", path.name, home=tmp_path / "h", folder=path.parent
    )
    assert " passed" in said


def test_a_package_with_a_platform_is_found_by_its_entry_point(tmp_path: Path) -> None:
    install = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--target")
    run(sys.executable, *install, tmp_path / "lib", "./script_platform", home=tmp_path)
    said = run(
        TASKRUNNER, "run", "--task", "count.toml",
        home=tmp_path / "home", folder=EXAMPLES / "script_platform", env={"PYTHONPATH": str(tmp_path / "lib")},
    )  # fmt: skip
    assert "3 of 3" in said


def test_each_way_through_the_house_has_at_most_ten_files() -> None:
    _, *ways = (ROOT / "docs" / "house.md").read_text().split("\n## ")
    files = {way.splitlines()[0]: set(re.findall(r"\]\(\.\./([^)]+\.py)\)", way)) for way in ways}
    assert list(files) == ["A claim", "A payload", "A secret", "A byte of the log", "An error"]
    assert all(4 <= len(named) <= 10 for named in files.values()), files


def test_each_package_has_a_line_in_the_house() -> None:
    told = (ROOT / "docs" / "house.md").read_text()
    packages = {path.parent.name for path in (ROOT / "taskrunner").glob("*/__init__.py")}
    assert [name for name in sorted(packages) if f"| `taskrunner/{name}` |" not in told] == []
