"""The example of a build with a secret and a private base, with servers in place of those that it names."""

from __future__ import annotations

import tomllib
from contextlib import closing, suppress
from pathlib import Path

import docker
import pytest

from tests.e2e.conftest import PASSWORD
from tests.support.e2e import LIMIT, Site
from tests.support.githttp import GitServer, make_repository
from tests.support.registry import Registry
from tests.support.secret_search import inside_images

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "private_build"
TOKEN = "api-token-3c9d"


@pytest.mark.usefixtures("base_image")
def test_a_build_with_a_secret_and_a_private_base(
    site: Site, git: GitServer, private_registry: Registry, repositories: Path
) -> None:
    def here(name: str) -> str:
        text = (EXAMPLE / name).read_text().replace("https://git.example.com/team/web.git", git.url("private"))
        return text.replace("registry.example.com", private_registry.host)

    base, image = (f"{private_registry.host}/team/{name}" for name in ("base:1", "web:1.0"))
    make_repository(repositories / "private", {"Dockerfile": here("Dockerfile")})
    site.configure(here("taskrunner.toml"))
    site.variables |= {"REGISTRY_PASSWORD": PASSWORD, "API_TOKEN": TOKEN}
    with closing(docker.APIClient(version="auto", timeout=int(LIMIT))) as api:
        api.tag("taskrunner-base", *base.rsplit(":", 1))
        login = {"username": "ann", "password": PASSWORD}
        assert "error" not in api.push(base, auth_config=login)
        api.remove_image(base)
        ended = site.run({**tomllib.loads(here("task.toml")), "id": f"t{site.token}"})
        assert ended.status == 0, ended.everything
        assert TOKEN not in ended.everything
        try:
            api.pull(image, auth_config=login)
            content = inside_images([image])
        finally:
            for name in (image, base):
                with suppress(docker.errors.NotFound):
                    api.remove_image(name, force=True)
    assert f"{len(TOKEN)}\n".encode() in content, "the search finds what is in a layer"
    assert TOKEN.encode() not in content
    assert site.files_containing(TOKEN) == []
