"""From the path of a folder to the folder, over symbolic links, as the kernel follows them in a checkout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskrunner_git.failures import clone_failed, quoted

if TYPE_CHECKING:
    from taskrunner_git.trees.commit_tree import CommitTree

_MOST_LINKS = 40
"""Links that one path may lead over: the kernel's own limit."""


def find_folder(root: CommitTree, path: str) -> tuple[list[str], CommitTree]:
    """The names on the way to a folder without links, and the folder. Raises TaskFailed, which names the folders that
    exist, or the link that leads out of the repository."""
    todo = path.strip("/").split("/")[::-1]
    if ".." in todo:
        raise clone_failed(f'the context "{quoted(path)}" leads out of the repository')
    done, trees, links = list[str](), [root], 0
    while todo:
        part = todo.pop()
        if part == ".." and done:
            done.pop()
            trees.pop()
        elif part not in {"", "."}:
            target = None if part == ".." else trees[-1].link(part)
            if part == ".." or (target is not None and target.startswith("/")):
                raise clone_failed(f'the context "{quoted(path)}" leads out of the repository over a symbolic link')
            if target is None:
                trees.append(trees[-1].enter(part, "/".join(done)))
                done.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise clone_failed(f'the context "{quoted(path)}" leads over more than {_MOST_LINKS} symbolic links')
            todo += target.split("/")[::-1]
    return done, trees[-1]
