"""The tree that an archive describes, in memory, and where its symbolic links lead."""

from __future__ import annotations

import attrs

from taskrunner.files.archives.bounds import Usage
from taskrunner.files.archives.member import Kind
from taskrunner.files.archives.refusal import member_refused

MOST_LINKS = 40
"""Links in one path after which Linux gives up; other systems do so earlier."""


@attrs.define(eq=False)
class Node:
    """A file, folder or symbolic link. A hard link is one more name for a file, and counts as a file."""

    kind: Kind
    parent: Node | None
    children: dict[str, Node] = attrs.field(factory=dict)
    target: str = ""
    """Where a symbolic link leads."""


class Tree:
    """The folder that is unpacked into, as it will be."""

    def __init__(self) -> None:
        self.root = Node(Kind.FOLDER, None)

    def find(self, parts: tuple[str, ...]) -> Node | None:
        """What has this path; no link is followed."""
        node: Node | None = self.root
        for part in parts:
            node = node.children.get(part) if node else None
        return node

    def leads_nowhere_else(self, link: Node, member: str, usage: Usage) -> None:
        """Raises TaskFailed when a link leads out of the tree, as the system would follow it once all links are there.

        Working on the text alone is not enough: `a/b/up -> ../..` stays inside, and so seems `a/b/up/../..`, which does
        not. A path that goes up from something that the archive does not have is refused as well: what a name means
        there depends on the system (a folder `LINK` may be the link `link`).
        """
        at, pending, links = link.parent, _reversed_parts(link.target), 0
        missing = ""
        while pending:
            usage.add_link_step()
            part = pending.pop()
            if part == "..":
                if missing:
                    raise member_refused(member, f'links through "{missing}", which the archive does not have')
                at = at.parent if at else None
                if at is None:
                    raise member_refused(member, "links to a path outside of the archive")
                continue
            child = at.children.get(part) if at and not missing else None
            if child is None:
                missing = missing or part
            elif child.kind is Kind.SYMBOLIC_LINK:
                links += 1
                if links > MOST_LINKS:
                    return  # no system follows it to its end
                pending += _reversed_parts(child.target)
            else:
                at = child


def _reversed_parts(path: str) -> list[str]:
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]
