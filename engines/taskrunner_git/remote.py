"""The remote of a fetch: the URL of a repository, and those of its submodules."""

from __future__ import annotations

import posixpath

import attrs

from taskrunner.schema.repository_url import UNSAFE, RepositoryUrl
from taskrunner_git.failures import clone_failed

_TOKEN_USER = "x-access-token"  # noqa: S105  GitHub wants this name beside a token; GitLab and Gitea accept it


@attrs.frozen
class Remote(RepositoryUrl):
    """The address of a repository.

    It may be a path on this machine, absolute or as `file://`: the author of a task has it read with the rights of the
    worker, so the rules of the worker's configuration must allow it. A submodule may be such a path only when the
    repository that names it is one too.
    """

    def with_token(self, token: str | None) -> Remote:
        """The same with the token as its password, for a URL over HTTP that has no password itself."""
        if not token or not self.is_http or self.password:
            return self
        return attrs.evolve(self, user=self.user or _TOKEN_USER, password=token)

    def submodule(self, url: str) -> Remote:
        """A repository that this one names as a submodule. It has the same credentials only on the same host.

        Raises: TaskFailed.
        """
        if url.startswith(("./", "../")):
            return self._relative(url)
        other = parse_url(url)
        if other.scheme == "file" and self.scheme != "file":
            raise clone_failed(f"the submodule {url!r} is a path on the worker's machine, which {self} may not name")
        same = (other.scheme, other.host, other.port) == (self.scheme, self.host, self.port)
        return attrs.evolve(other, user=self.user, password=self.password) if same and not other.password else other

    def _relative(self, url: str) -> Remote:
        """As git resolves it: each leading `../` removes the last part of this path."""
        base, rest = self.path.rstrip("/"), url
        while rest.startswith(("./", "../")):
            step, _, rest = rest.partition("/")
            if step == ".." and not base:
                raise clone_failed(f"the submodule {url!r} leads out of {self}")
            if step == "..":
                base = base.rpartition("/")[0]
        root = "/" if self.path.startswith("/") else ""
        path = posixpath.normpath(posixpath.join(base or root, rest))
        if path.startswith(("..", "-")) or path in {"/", "."} or UNSAFE.search(url):
            raise clone_failed(f"the submodule {url!r} leads out of {self}")
        return attrs.evolve(self, path=path)


def parse_url(url: str) -> Remote:
    """Raises TaskFailed, whose text shows no credentials."""
    try:
        return Remote.parse(url)
    except ValueError as error:
        message = str(error)
    raise clone_failed(message)
