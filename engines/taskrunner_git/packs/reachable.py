"""The objects that commits need, with their history as far as it is in the mirror."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import attrs

from taskrunner.errors import TaskFailed
from taskrunner_git.failures import Broken
from taskrunner_git.packs.commit_object import find_parents, find_tagged, find_tree
from taskrunner_git.packs.objects import Objects
from taskrunner_git.packs.tree_object import parse_tree


@attrs.frozen
class Needed:
    """What stays of a mirror."""

    ids: set[bytes]
    shallow: set[str]
    """The commits among them without their parents."""
    names: dict[str, str]
    """The refs that mean one of them."""


def reachable(
    objects: Objects, commits: Iterable[str], names: Mapping[str, str], shallow: set[str], check: Callable[[], None]
) -> Needed:
    """Follows commits to their parents and folders, and keeps the refs in `names` that mean one of these commits.
    `check` is called between objects. Raises Broken, OSError, and the errors of `check`."""
    needed = Needed(set(), set(), {})
    _add_history(objects, [bytes.fromhex(sha) for sha in commits], shallow, needed)
    _add_trees(objects, [find_tree(objects, sha) for sha in needed.ids], needed.ids, check)
    for name, sha in names.items():
        tags = find_tagged(objects, bytes.fromhex(sha))
        if tags and tags[-1] in needed.ids:
            needed.names[name] = sha
            needed.ids.update(tags)
    return needed


def _add_history(objects: Objects, todo: list[bytes], shallow: set[str], needed: Needed) -> None:
    while todo:
        sha = todo.pop()
        if sha in needed.ids:
            continue
        needed.ids.add(sha)
        if sha.hex() in shallow:
            needed.shallow.add(sha.hex())
        else:
            todo += find_parents(objects, sha)


def _add_trees(objects: Objects, todo: list[bytes], ids: set[bytes], check: Callable[[], None]) -> None:
    while todo:
        check()
        sha = todo.pop()
        if sha in ids:
            continue
        ids.add(sha)
        try:
            items = list(parse_tree(objects.read(sha)[1]))
        except TaskFailed:
            raise Broken("the mirror has a commit with a forbidden name") from None
        todo += [item.sha for item in items if item.is_folder]
        ids.update(item.sha for item in items if not item.is_folder and not item.is_submodule)
