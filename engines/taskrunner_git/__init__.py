"""Git, for every engine: a commit is fetched into a mirror, and read from there as a tree of files, or checked out."""

from taskrunner_git.commit import Commit
from taskrunner_git.fetching import fetch
from taskrunner_git.files import FileEntry, FileTree, read_small
from taskrunner_git.remote import Remote, parse_url
from taskrunner_git.source import FetchedSource, checkout, fetch_source

__all__ = [
    "Commit",
    "FetchedSource",
    "FileEntry",
    "FileTree",
    "Remote",
    "checkout",
    "fetch",
    "fetch_source",
    "parse_url",
    "read_small",
]
