"""Script: what a run does in a conformance test. The author of a platform makes a payload of it."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Iterator, Mapping

import attrs

FOREVER = 1_000_000
"""Seconds that a run sleeps until a test ends it: eleven days, far more than any test waits."""


@attrs.frozen
class Script:
    """The steps of one run, in this order. Paths are relative to the run's folder."""

    files: Mapping[str, str] = attrs.field(factory=dict)
    """Files to make, path to text, with the folders above them."""
    zeros: Mapping[str, int] = attrs.field(factory=dict)
    """Large files to make, path to size: so many bytes, all of them zero."""
    links: Mapping[str, str] = attrs.field(factory=dict)
    """Symbolic links to make, path to target."""
    prints: str = ""
    print_env: tuple[str, ...] = ()
    """Environment variables to print as lines `NAME=value`; one that is not set is left out."""
    print_file: str = ""
    """A file to print."""
    print_stdin: bool = False
    """Copies the standard input to the output, up to its end."""
    pauses: float = 0
    """Seconds to wait after that."""
    sleeps: bool = False
    """Waits after that until the run is killed, and so does a child process of it."""
    exit_code: int = 0

    @property
    def shell(self) -> str:
        """The steps as a POSIX shell script: most platforms need no more than `["sh", "-c", script.shell]`."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        quote = shlex.quote
        for path in (*self.files, *self.zeros, *self.links):
            yield f"mkdir -p {quote(posixpath.dirname(path) or '.')}"
        yield from (f"printf %s {quote(text)} > {quote(path)}" for path, text in self.files.items())
        yield from (f"head -c {size} /dev/zero > {quote(path)}" for path, size in self.zeros.items())
        yield from (f"ln -s {quote(target)} {quote(path)}" for path, target in self.links.items())
        yield f"printf %s {quote(self.prints)}"
        yield from (f'if [ "${{{name}+set}}" ]; then printf \'{name}=%s\\n\' "${name}"; fi' for name in self.print_env)
        yield from [f"cat {quote(self.print_file)}"] * bool(self.print_file)
        yield from ["cat"] * self.print_stdin
        yield from [f"sleep {self.pauses}"] * bool(self.pauses)
        yield from [f"sleep {FOREVER} & sleep {FOREVER}"] * self.sleeps
        yield f"exit {self.exit_code}"


__all__ = ["FOREVER", "Script"]
