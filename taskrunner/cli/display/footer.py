"""Footer: the lowest lines of a terminal, redrawn in their place, while others scroll above them.

Rich renders them. Its own live display loses its place when the terminal gets narrower: terminals wrap their contents
anew, and a line that has become too long then takes two rows. This one knows the length of each line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs
from rich.console import Console, RenderableType
from rich.segment import Segment


@attrs.frozen
class Raw:
    """Whole lines that are printed as they are: the terminal wraps them, and many of them are printed quickly."""

    text: str


@attrs.define
class Footer:
    """Used from one thread. Drawing blocks while the terminal is stopped, and raises OSError when it has gone."""

    console: Console
    _lengths: list[int] = attrs.field(factory=list)

    def draw(self, above: Iterable[object], footer: RenderableType) -> None:
        """Prints the lines that stay, and the footer below them, in one write so that nothing flickers."""
        width, height = self.console.size
        lines = list(_stripped(self.console.render_lines(footer, pad=False)))[: height - 1]
        texts = [self._erase(width), *map(self._text, above), *(self._text(_Line(line)) for line in lines)]
        self.console.file.write("".join(texts))
        self.console.file.flush()
        self._lengths = [Segment.get_line_length(line) for line in lines]

    def _text(self, what: object) -> str:
        if isinstance(what, Raw):
            return what.text
        with self.console.capture() as captured:
            self.console.print(what, end="")
        return captured.get().removesuffix("\n") + "\n"

    def _erase(self, width: int) -> str:
        """Removes the last footer. The cursor is in the first column of the row below it."""
        rows = sum(max(1, -(-length // width)) for length in self._lengths)
        up = f"\x1b[{rows}A" if rows else ""
        return f"\r{up}\x1b[J"


@attrs.frozen
class _Line:
    segments: list[Segment]

    def __rich_console__(self, *_: object) -> Iterator[Segment]:
        yield from self.segments
        yield Segment.line()


def _stripped(lines: Iterable[list[Segment]]) -> Iterator[list[Segment]]:
    """Lines without the spaces at their ends, which the terminal would wrap too."""
    for line in lines:
        while line and not line[-1].text.strip():
            line.pop()
        if line:
            line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
        yield line
