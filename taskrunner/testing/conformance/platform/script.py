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
    fifos: tuple[str, ...] = ()
    """Named pipes to make, which nobody writes to."""
    ignores_signals: bool = False
    """Ignores every signal that can be ignored, from here on."""
    leaves_child: bool = False
    """Starts a child process in a session of its own that sleeps, and holds the output open."""
    allocates: int = 0
    """Bytes of memory that a child process of it has at once, at least. When that is killed, the run ends as it."""
    children: int = 0
    """So many processes are started, which sleep until the end of the run. When one cannot be, the run fails."""
    prints: str = ""
    """Text for the standard output. Nothing is added to it, also no line feed."""
    print_bytes: bytes = b""
    """The same as bytes, which need not be text."""
    print_error: str = ""
    """Text for the standard error."""
    print_env: tuple[str, ...] = ()
    """Environment variables to print as lines `NAME=value`; one that is not set is left out."""
    print_file: str = ""
    """A file to print."""
    print_stdin: bool = False
    """Copies the standard input to the output, up to its end."""
    fetches: str = ""
    """A URL to get by HTTP, whose answer is printed. `$NAME` in it is an environment variable."""
    pauses: float = 0
    """Seconds to wait after that."""
    prints_after: str = ""
    """Text for the standard output, after the pause."""
    sleeps: bool = False
    """Waits after that until the run is killed, and so does a child process of it."""
    exit_code: int = 0

    @property
    def shell(self) -> str:
        """The steps as a POSIX shell script: most platforms need no more than `["sh", "-c", script.shell]`."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        quote = shlex.quote
        for path in (*self.files, *self.zeros, *self.links, *self.fifos):
            yield f"mkdir -p {quote(posixpath.dirname(path) or '.')}"
        yield from (f"printf %s {quote(text)} > {quote(path)}" for path, text in self.files.items())
        yield from (f"head -c {size} /dev/zero > {quote(path)}" for path, size in self.zeros.items())
        yield from (f"ln -s {quote(target)} {quote(path)}" for path, target in self.links.items())
        yield from (f"mkfifo {quote(path)}" for path in self.fifos)
        yield from ["trap '' HUP INT QUIT USR1 USR2 ALRM TERM"] * self.ignores_signals
        if self.leaves_child:  # the substitution ends when the child has left the session, and holds the log open
            yield f"exec 3>&1; : \"$(setsid sh -c 'sleep {FOREVER} >&3 &')\"; exec 3>&-"
        if self.allocates:  # a last line that has no end
            yield f"head -c {self.allocates} /dev/zero | tail -n 1 > /dev/null || exit"
        if self.children:
            child = f"sleep {FOREVER} < /dev/null > /dev/null 2>&1 &"
            yield f"started=0; while [ $started -lt {self.children} ]; do {child} started=$((started + 1)); done"
        yield f"printf %s {quote(self.prints)}"
        yield f"printf '{_octal(self.print_bytes)}'"
        yield f"printf %s {quote(self.print_error)} >&2"
        yield from (f'if [ "${{{name}+set}}" ]; then printf \'{name}=%s\\n\' "${name}"; fi' for name in self.print_env)
        yield from [f"cat {quote(self.print_file)}"] * bool(self.print_file)
        yield from ["cat"] * self.print_stdin
        yield from [f'wget -q -O - "{self.fetches}" || curl -sS "{self.fetches}"'] * bool(self.fetches)
        yield from [f"sleep {self.pauses}"] * bool(self.pauses)
        yield f"printf %s {quote(self.prints_after)}"
        yield from [f"sleep {FOREVER} & sleep {FOREVER}"] * self.sleeps
        yield f"exit {self.exit_code}"


def _octal(data: bytes) -> str:
    """As `printf` of POSIX takes bytes: each as a backslash and three digits."""
    return "".join(rf"\{byte:03o}" for byte in data)


__all__ = ["FOREVER", "Script"]
