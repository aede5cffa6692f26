"""Git, for every engine: a commit is fetched into a mirror, and read from there as a tree of files, or checked out."""

from taskrunner_git.commit import Commit
from taskrunner_git.fetching import fetch
from taskrunner_git.files import FileEntry, FileTree, read_small
from taskrunner_git.remote import Remote, parse_url
from taskrunner_git.work_tree.checkout import with_git_folder, write_checkout

__all__ = [
    "Commit",
    "FileEntry",
    "FileTree",
    "Remote",
    "fetch",
    "parse_url",
    "read_small",
    "with_git_folder",
    "write_checkout",
]
