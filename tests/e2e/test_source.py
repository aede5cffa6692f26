"""A task with a source, by the installed command."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from tests.support.e2e import Site
from tests.support.githttp import commit, make_repository
from tests.support.project import make_project


def test_a_project_is_tested_and_its_story_names_the_source(site: Site, tmp_path: Path) -> None:
    sha = make_project(tmp_path / "project")
    site.configure(f'[source]\nrepositories = ["{tmp_path}/project"]\n')
    source = {"repository": str(tmp_path / "project"), "ref": "main"}
    task = site.submit({**site.process("", source=source), "command": ["make", "test"]})
    site.run_worker()
    assert site.resolutions(task) == ["completed"]
    shown = site.command("show", task).everything
    assert f"source {tmp_path}/project main" in shown
    assert sha in site.command("logs", task).everything


def test_a_path_or_an_ssh_host_is_for_whom_the_worker_belongs_to(site: Site, tmp_path: Path) -> None:
    """A task out of the queue is refused what the operator may name in a file that he runs himself."""
    make_project(tmp_path / "project")
    repositories = {"path": str(tmp_path / "project"), "url": f"file://{tmp_path}/project", "ssh": "git@127.0.0.1:x"}
    documents = {key: site.process("true", source={"repository": url}) for key, url in repositories.items()}
    for name, document in documents.items():
        site.submit({**document, "id": name})
    site.run_worker("--capacity", "3")
    for name, url in repositories.items():
        assert site.resolutions(name) == ["failed (source-refused)"]
        log = site.command("logs", name).everything
        assert f"{url.removeprefix('file://')} is not among the repositories that this worker allows: it is a" in log
    own = site.folder / "own.json"
    own.write_text(json.dumps({**documents["path"], "id": "own"}))
    assert site.command("run", "--task", str(own)).status == 0
    site.configure('[source]\nrepositories = ["git.example.com"]\n')
    own.write_text(json.dumps({**documents["path"], "id": "again"}))
    assert "source-refused" in site.command("run", "--task", str(own)).everything


def test_a_task_cannot_name_a_mirror_as_its_cache(site: Site, tmp_path: Path) -> None:
    """It would read a repository that is not its own, and could write to it."""
    make_project(tmp_path / "project")
    site.configure(f'[source]\nrepositories = ["{tmp_path}"]\n')
    source = {"repository": str(tmp_path / "project")}
    site.submit({**site.process("true", source=source), "id": "filling"})
    site.run_worker()
    (mirror,) = (site.home / "engine-caches").iterdir()
    assert any(path.is_file() and path.stat().st_size for path in mirror.glob("1/**/*")), "the mirror is full"
    caches = [{"name": mirror.name, "path": "stolen"}]
    attack = site.submit({**site.process("ls -A stolen; echo bad > stolen/bad", caches=caches), "id": "attack"})
    site.run_worker()
    assert site.resolutions(attack) == ["completed"]
    assert (site.home / "caches" / "process" / mirror.name / "1" / "bad").exists()
    assert not list(mirror.glob("**/bad"))
    log = site.command("logs", attack).everything
    assert "pack" not in log


def test_make_rebuilds_no_committed_file_ten_times_out_of_ten_on_two_homes(tmp_path: Path, base_image: str) -> None:
    """Each file of a chain is made from the one before, and all are committed at once."""
    chain = [f"step{number}" for number in range(50)]
    rules = "".join(f"{made}: {source}\n\tcp $< $@; echo rebuilt\n" for source, made in pairwise(chain))
    project = tmp_path / "project"
    make_repository(project, {**dict.fromkeys(chain, "x"), "Makefile": f"all: {chain[-1]}\n{rules}"})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        site = Site(tmp_path / name)
        site.configure(f'[source]\nrepositories = ["{tmp_path}/pro*"]\n')
        tasks = []
        for number in range(10):
            source = {"repository": str(project)}
            tasks.append(site.submit({**site.process("make all", source=source), "id": f"make-{number}"}))
            commit(project, {"unrelated": f"{name} {number}"})
            if number % 3 == 0:
                site.run_worker()
        site.run_worker("--capacity", "3")
        for task in tasks:
            assert site.resolutions(task) == ["completed"]
            assert "rebuilt" not in site.log(task)
        site.close()
