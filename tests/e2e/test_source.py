"""A task with a source, by the installed command."""

from __future__ import annotations

from pathlib import Path

from tests.support.e2e import Site
from tests.support.project import make_project


def test_a_project_is_tested_and_its_story_names_the_source(site: Site, tmp_path: Path) -> None:
    sha = make_project(tmp_path / "project")
    source = {"repository": str(tmp_path / "project"), "ref": "main"}
    task = site.submit({**site.process("", source=source), "command": ["make", "test"]})
    site.run_worker()
    assert site.resolutions(task) == ["completed"]
    shown = site.command("show", task).everything
    assert f"source {tmp_path}/project main" in shown
    assert sha in site.command("logs", task).everything


def test_a_task_cannot_name_a_mirror_as_its_cache(site: Site, tmp_path: Path) -> None:
    """It would read a repository that is not its own, and could write to it."""
    make_project(tmp_path / "project")
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
