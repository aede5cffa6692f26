"""`make demo`: what taskrunner does, in two tasks, with everything real and nothing left behind.

A process task; then a repository that is fetched from a git server with a token, built by BuildKit, and pushed to a
registry that demands a login. Prints each state as it passes, then the digest, pulls that digest, and checks that no
container, network, volume, image or folder of a run is left.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "script"))

import docker  # noqa: E402  the checkout's own modules are on the path only now
from base_image import ensure_base_image  # noqa: E402
from docker.errors import DockerException  # noqa: E402

from tests.support.githttp import GitServer, make_repository  # noqa: E402
from tests.support.registry import registry  # noqa: E402

FOLDER = ROOT / ".cache" / "demo"
HOME = FOLDER / "home"
TASKRUNNER = Path(sys.executable).with_name("taskrunner")

HELLO = """\
id = "{id}"
name = "a process"
platform = "process"
command = ["sh", "-c", "echo hello from a process; date > made.txt"]

[[artifacts]]
name = "public/made.txt"
path = "made.txt"
"""
BUILD = """\
id = "{id}"
name = "an image"
platform = "docker"

[source]
repository = "{url}"
ref = "main"
token = {{secret = "git"}}

[build]
build_args = {{GREETING = "hello from a build"}}
tags = ["{host}/demo/web:1.0"]
push = true
"""
CONFIG = """\
[secrets]
git = {{env = "DEMO_GIT_TOKEN"}}
registry = {{env = "DEMO_REGISTRY_PASSWORD"}}

[docker.registries."{host}"]
username = "demo"
password = {{secret = "registry"}}
"""
REPOSITORY = {
    "Dockerfile": "FROM taskrunner-base\nARG GREETING\nCOPY page.txt /page.txt\nRUN echo $GREETING && wc -c page.txt\n",
    "page.txt": "A page of the demo.\n" * 100,
    ".dockerignore": "notes\n",
    "notes/todo.txt": "not for the image\n",
}
SECRETS = {"DEMO_GIT_TOKEN": "git-token-of-the-demo", "DEMO_REGISTRY_PASSWORD": "password-of-the-demo"}


def main() -> int:
    began = time.monotonic()
    HOME.mkdir(parents=True, exist_ok=True)
    number = f"{time.time_ns() // 1_000_000:x}"
    title("a process task")
    failed = run(HELLO.format(id=f"hello-{number}"), FOLDER / "hello.toml")
    engine = docker_engine()
    if engine is None or shutil.which("git") is None:
        lacking = "git is not installed here (apt-get install git)" if engine else "Docker does not answer here"
        print(f"\n{lacking}, so the image build is left out; the process task has run.")
        return failed
    title("a repository, cloned, built, and pushed with a login")
    try:
        failed += build(engine, f"build-{number}")
    except (OSError, RuntimeError, subprocess.SubprocessError, DockerException) as error:
        print(f"\nthe image build could not be shown: {why(error)}")
        return 1
    print(f"\ndone in {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


def build(engine: docker.DockerClient, task_id: str) -> int:
    ensure_base_image()
    with ExitStack() as servers:
        git = servers.enter_context(GitServer(FOLDER / "git", token=SECRETS["DEMO_GIT_TOKEN"]))
        store = servers.enter_context(registry(FOLDER / "registry", {"demo": SECRETS["DEMO_REGISTRY_PASSWORD"]}))
        shutil.rmtree(FOLDER / "git" / "web", ignore_errors=True)  # a demo that was interrupted leaves half of one
        make_repository(FOLDER / "git" / "web", REPOSITORY)
        (FOLDER / "taskrunner.toml").write_text(CONFIG.format(host=store.host))
        failed = run(BUILD.format(id=task_id, url=git.url("web"), host=store.host), FOLDER / "build.toml")
        if failed:
            return failed
        result = result_of(task_id)
        pull(engine, result)
        return check(engine, result, store.host)


def why(error: Exception) -> str:
    """The text of an error; of a program that failed, its own."""
    said = getattr(error, "stderr", None) or b""
    return f"{error}\n{said.decode(errors='replace') if isinstance(said, bytes) else said}".rstrip()


def run(task: str, path: Path) -> int:
    """`taskrunner run --task`, as a user types it."""
    path.write_text(task)
    config = FOLDER / "taskrunner.toml"
    command = [str(TASKRUNNER), "run", "--task", str(path), *(["--config", str(config)] if config.exists() else [])]
    print("$", " ".join(["taskrunner", *command[1:]]).replace(f"{ROOT}/", ""), flush=True)
    return subprocess.run(command, env=environment(), check=False).returncode


def result_of(task_id: str) -> dict[str, Any]:
    shown = subprocess.run(
        [TASKRUNNER, "show", task_id, "--json"], env=environment(), check=True, capture_output=True, text=True
    )
    result: dict[str, Any] = json.loads(shown.stdout)["runs"][-1]["result"]
    return result


def pull(engine: docker.DockerClient, result: dict[str, Any]) -> None:
    """Pulls the image that was pushed, by its digest and with a login."""
    [image] = result["images"]
    repository = image["name"].rpartition(":")[0]
    name = f"{repository}@{image['digest']}"
    title("what came out of it")
    print(f"commit  {result['commit']}\nimage   {result['image_id']}\ndigest  {image['digest']}")
    auth = {"username": "demo", "password": SECRETS["DEMO_REGISTRY_PASSWORD"]}
    engine.images.pull(repository, tag=image["digest"], auth_config=auth)
    print(f"docker pull {name}: works")
    engine.images.remove(name)


def environment() -> dict[str, str]:
    return {**os.environ, **SECRETS, "TASKRUNNER_HOME": str(HOME)}


def docker_engine() -> docker.DockerClient | None:
    with suppress(DockerException):
        engine = docker.from_env(timeout=60)
        engine.ping()
        return engine
    return None


def check(engine: docker.DockerClient, result: dict[str, Any], host: str) -> int:
    """Looks for remains of the runs of this home only: other workers may use the machine."""
    ours = {"label": f"taskrunner.home={HOME}"}
    left = {
        "containers": [item.name for item in engine.containers.list(all=True, filters=ours)],
        "networks": [item.name for item in engine.networks.list(filters=ours)],
        "volumes": [item.name for item in engine.volumes.list(filters=ours)],
        "images": [str(item.id) for item in engine.images.list(all=True) if is_of_the_run(item, result, host)],
        "folders": [str(path) for path in HOME.glob("runs/*/*/work")],
    }
    for kind, names in left.items():
        if names:
            print(f"left behind, {kind}: {', '.join(names)}")
    if any(left.values()):
        return 1
    print(f"left behind: no {', no '.join(left)} of a run")
    print("kept for the next demo: the base image, and .cache/demo with the logs, the registry and the git mirror")
    return 0


def is_of_the_run(image: Any, result: dict[str, Any], host: str) -> bool:
    return image.id == result["image_id"] or any(tag.startswith(f"{host}/") for tag in image.tags)


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
