"""Draws the moves of a machine as an SVG that needs no network and no program: a column for each state, a row for each
pair of states, and above its arrow the events that lead from one to the other.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from xml.sax.saxutils import escape

from taskrunner.machines.table import Table

WIDTH = 900
"""Units; the page scales it to its own width, which is about 740 pixels."""
LETTER, LEADING = 6.9, 16
"""Average width of a letter, and distance of two lines."""
BOX = 34
GAP = 14
"""Between the arrow of one row and the first line of the next one's label."""

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#333;text-anchor:middle}"
    ".state{font-weight:600}"
    "rect{fill:#eef3fb;stroke:#4a6fa5}"
    "line{stroke:#4a6fa5;stroke-width:1.5}"
    ".life{stroke:#bbb;stroke-width:1;stroke-dasharray:3 4}"
    "path{fill:#4a6fa5}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}rect{fill:#22304a;stroke:#8fb0e0}line{stroke:#8fb0e0}"
    ".life{stroke:#555}path{fill:#8fb0e0}}"
)


def draw(table: Table, title: str) -> str:
    """The whole file."""
    column = WIDTH / len(table.states)
    middle = {state: column * (index + 0.5) for index, state in enumerate(table.states)}
    rows, height = [], float(BOX + GAP)
    for (source, target), events in _moves(table).items():
        lines = _wrapped(events, abs(middle[target] - middle[source]) - 16)
        height += LEADING * len(lines) + GAP
        rows += _arrow(middle[source], middle[target], height, lines)
    height += GAP
    lives = [_line(x, BOX, x, height, "life") for x in middle.values()]
    boxes = [part for state, x in middle.items() for part in _box(state, x, column - 24, final=state in table.final)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img">'
    return "\n".join(
        [head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", *lives, *boxes, *rows, "</svg>\n"]
    )


def _moves(table: Table) -> dict[tuple[str, str], list[str]]:
    """Source and target to the events that lead from one to the other, with their conditions."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        if not row.stays:
            label = f"{row.event} [{row.condition}]" if row.condition else row.event
            found.setdefault((row.source, row.target), []).append(label)
    return found


def _wrapped(events: list[str], width: float) -> list[str]:
    return textwrap.wrap(", ".join(events), max(12, int(width / LETTER)), break_long_words=False)


def _box(state: str, x: float, width: float, *, final: bool) -> Iterator[str]:
    for inset in (0, 3) if final else (0,):
        yield (
            f'<rect x="{x - width / 2 + inset + 0.5:g}" y="{inset + 0.5}" width="{width - 2 * inset:g}"'
            f' height="{BOX - 2 * inset}" rx="6"/>'
        )
    yield f'<text class="state" x="{x:g}" y="{BOX / 2 + 5:g}">{escape(state)}</text>'


def _arrow(begin: float, end: float, y: float, lines: list[str]) -> Iterator[str]:
    back = -1 if end < begin else 1
    for index, line in enumerate(reversed(lines)):
        yield f'<text x="{(begin + end) / 2:g}" y="{y - 5 - LEADING * index:g}">{escape(line)}</text>'
    yield _line(begin, y, end - 7 * back, y)
    yield f'<path d="M{end:g} {y:g}l{-9 * back} -4v8z"/>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "move") -> str:
    return f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>'
