from __future__ import annotations

import re

import pytest

from taskrunner.interfaces.source import EVERYTHING, OVER_NETWORK, SourceOptions
from taskrunner.limits import REPOSITORY_PATTERN
from taskrunner.schema.repositories import RepositoryRules
from taskrunner.schema.repository_url import RepositoryUrl

ALLOWED = {
    "git.example.com": [
        "https://git.example.com/team/web.git",
        "https://GIT.example.com:443/x",
        "https://me:pw@git.example.com/x",
    ],
    "*.example.com": ["https://git.example.com/x", "https://a.b.example.com/x"],
    "git.example.com:8443": ["https://git.example.com:8443/x"],
    "127.0.0.1:*": ["https://127.0.0.1:5137/x", "https://127.0.0.1/x"],
    "[::1]:8443": ["https://[::1]:8443/x"],
    "http://127.0.0.1:3000": ["http://127.0.0.1:3000/web"],
    "https://git.example.com/team": [
        "https://git.example.com/team",
        "https://git.example.com/team/web.git",
        "https://git.example.com/team/a/b",
    ],
    "https://git.example.com/team/": ["https://git.example.com/team/web"],
    "https://git.example.com/team/web.git": [
        "https://git.example.com/team/web",
        "https://git.example.com/team/web.git/",
    ],
    "https://git.example.com/*/docs": ["https://git.example.com/team/docs", "https://git.example.com/@me/docs.git"],
    "https://git.example.com/web-*": ["https://git.example.com/web-1/x"],
    "git://*:*": ["git://host:9000/x"],
    "ssh://git.example.com": [
        "ssh://git.example.com/x",
        "ssh://git@git.example.com:22/x",
        "git@git.example.com:x",
        "git+ssh://git@git.example.com/x",
    ],
    "ssh://git@git.example.com:2222/team": ["ssh://git@git.example.com:2222/team/web"],
    "git@git.example.com:team/*": ["git@git.example.com:team/web.git", "ssh://git@git.example.com/~/team/web"],
    "git@git.example.com:": ["git@git.example.com:team/web.git", "git@git.example.com:/srv/web"],
    "git@git.example.com:/srv": ["git@git.example.com:/srv/web", "ssh://git@git.example.com/srv/web"],
    "/srv/git": ["/srv/git", "/srv/git/web.git", "file:///srv/git/web", "/srv/git/x/../web"],
    "file:///srv/git": ["/srv/git/web"],
    "/srv/*/git": ["/srv/a/git/web"],
    "/": ["/etc"],
}

REFUSED = {
    "git.example.com": [
        "http://git.example.com/x",
        "https://git.example.com:8443/x",
        "https://git.example.com.evil.example/x",
        "https://evil.example/git.example.com",
        "https://git.example.com@evil.example/x",
        "https://git.example.com:x@evil.example/x",
        "https://evil.example#@git.example.com/",
        "https://evil.example\\@git.example.com",
        "https://git.example.com./x",
        "ssh://git@git.example.com/x",
        "git@git.example.com:x",
        "git://git.example.com/x",
        "/git.example.com",
        "file:///git.example.com",
        "ext::sh -c id",
        "git.example.com/x",
        "",
    ],
    "*.example.com": ["https://example.com/x", "https://evilexample.com/x", "https://evil.example/.example.com"],
    "https://git.example.com/team": [
        "https://git.example.com/team-2/x",
        "https://git.example.com/team/../secret/x",
        "https://git.example.com/team/%2e%2e/secret/x",
        "https://git.example.com/team%2f..%2f..%2fsecret",
        "https://git.example.com/TEAM/x",
        "https://git.example.com/x/team",
        "https://git.example.com//team/x",
    ],
    "https://git.example.com/*/docs": ["https://git.example.com/a/b/docs", "https://git.example.com/docs"],
    "https://*": ["https://host:9200/x", "http://host/x"],
    "ssh://git@git.example.com/team": [
        "ssh://root@git.example.com/team/x",
        "ssh://git.example.com/team/x",
        "git@git.example.com:team/x",
        "ssh://git@git.example.com/~root/x",
    ],
    "git@git.example.com:team/*": ["git@git.example.com:team/../other/x", "root@git.example.com:team/x"],
    "/srv/git": [
        "/srv/git-private/x",
        "/srv/git/../x",
        "file:///srv/git/../../etc",
        "/srv",
        "/etc/srv/git",
        "//srv/git",
    ],
    "/srv/g.t": ["/srv/git"],
    "https://git.example.com": ["/srv", "https://git_example.com/x", "https://gitxexample.com/x"],
}


def _cases(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(pattern, url) for pattern, urls in table.items() for url in urls]


@pytest.mark.parametrize(("pattern", "url"), _cases(ALLOWED))
def test_a_repository_that_a_pattern_names_is_allowed(pattern: str, url: str) -> None:
    assert re.fullmatch(REPOSITORY_PATTERN, pattern)
    assert RepositoryRules(("https://other.example", pattern)).complaint(url) is None
    assert RepositoryRules(("https://other.example",)).complaint(url)


@pytest.mark.parametrize(("pattern", "url"), _cases(REFUSED))
def test_another_repository_is_refused(pattern: str, url: str) -> None:
    assert re.fullmatch(REPOSITORY_PATTERN, pattern)
    assert RepositoryRules((pattern,)).complaint(url)


@pytest.mark.parametrize("url", ["/srv/git/web", "file:///srv", "git@host:x", "ssh://host/x"])
def test_paths_and_ssh_are_for_those_that_a_pattern_names(url: str) -> None:
    assert RepositoryRules(OVER_NETWORK).complaint(url)
    assert RepositoryRules(EVERYTHING).complaint(url) is None


def test_a_task_of_the_operator_may_name_everything_unless_the_configuration_says_otherwise() -> None:
    assert SourceOptions().of_operator().repositories == EVERYTHING
    strict = SourceOptions(repositories=("git.example.com",))
    assert strict.of_operator() is strict


def test_the_complaint_names_the_field_and_the_setting_and_no_credentials() -> None:
    rules = RepositoryRules((), "[queue.agent] repositories")
    text = str(rules.complaint("https://me:pa55word@git.example.com/x", "repository"))
    assert text == (
        "repository: https://git.example.com/x is not among the repositories that this worker allows (its operator "
        "sets [queue.agent] repositories)"
    )
    assert "a path of the worker's machine" in str(rules.complaint("file:///etc"))
    assert "a repository over ssh" in str(rules.complaint("git@host:x"))


@pytest.mark.parametrize(
    "pattern", ["", "git.example.com/../x y", "ext::sh", "ftp://host", "https://a b", "https://", "x/y z"]
)
def test_a_malformed_pattern_is_none(pattern: str) -> None:
    assert not re.fullmatch(REPOSITORY_PATTERN, pattern)


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("https://ghp_0123456789abcdef@host/x", {"ghp_0123456789abcdef"}),
        ("https://t0ken:@host/x", {"t0ken"}),
        ("https://t0ken:x-oauth-basic@host/x", {"t0ken"}),
        ("https://t0%2Fken@host/x", {"t0/ken"}),
        ("https://me:pa55@host/x", {"pa55"}),
        ("https://git:pa55@host/x", {"pa55"}),
        ("https://git@host/x", set()),
        ("https://0123456789abcdef0123:pa55@host/x", {"pa55", "0123456789abcdef0123"}),
        ("https://host/x", set()),
        ("ssh://git@host/x", set()),
    ],
)
def test_a_token_in_the_place_of_the_user_is_a_credential(url: str, hidden: set[str]) -> None:
    parsed = RepositoryUrl.parse(url)
    assert set(parsed.credentials) == hidden
    assert not any(secret in f"{parsed} {parsed!r}" for secret in hidden)
