"""Hides secrets in the streams of a log, wherever these are cut into pieces.

The masker hides *forms*: the secret itself, its base64 at each of the three alignments that it can have inside a longer
text (a token in `user:token`), its URL-encoded spellings, and each longer line of a secret of many lines, since
programs print such a secret line by line and with other line ends. Every occurrence is found, overlapping ones too;
occurrences that overlap become one `***`.

It cannot hide a secret that the task itself encodes in another way, reverses, or prints a part at a time.

Speed: a text without a hit costs one `bytes.find` for each form that holds no other form, and no step per byte.
"""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = b"***"

MIN_SECRET = 4
"""Bytes. A shorter value is refused: it would match ordinary words and numbers all over a log, which makes the log
unreadable and reveals the value by the gaps. Others refuse less than 4 (Woodpecker), 6 (Buildkite) or 8 (GitLab)."""

MIN_LINE = 8
"""Bytes. Shorter lines of a secret of many lines (`}`, `EOF`, `- true`) are ordinary text when they stand alone."""

HEAD = 4
"""Bytes at the start of a form, by which the end of a text is searched for beginnings of it. No form is shorter."""


NOTHING_HELD = b"", 0


class Masker:
    """Masks the streams of one log: `feed` each in order, `flush` it at the end. Not safe for several threads at once.

    Each stream is masked on its own: a secret in stderr is found although a piece of stdout lies in the middle of it.
    """

    def __init__(self) -> None:
        self._forms: tuple[bytes, ...] = ()
        self._anchors: tuple[bytes, ...] = ()
        self._by_head: dict[bytes, list[bytes]] = {}
        self._openings = frozenset[bytes]()
        self._inner = frozenset[int]()
        self._ends: dict[str, tuple[bytes, int]] = {}
        """Stream to the bytes that it holds back, and how many of these belong to a form that was masked before."""

    def add(self, secret: str) -> bool:
        """Hides this value from now on, also in the bytes that are held back. False: it is too short to be hidden
        (`MIN_SECRET`). White space around it does not count, since programs often strip it; an empty value is ignored.
        """
        value = encode(secret).strip()
        if len(value) < MIN_SECRET:
            return not value
        self._index({*self._forms, *forms_of(value)})
        return True

    @property
    def streams(self) -> tuple[str, ...]:
        """Those that were fed, in the order of their first bytes."""
        return tuple(self._ends)

    def feed(self, data: bytes, stream: str = "") -> bytes:
        """Takes the next bytes of a stream and returns, masked, those that are decided now. It holds back the longest
        end that may still become a form, which is shorter than the longest form.
        """
        held, covered = self._ends.get(stream, NOTHING_HELD)
        return self._mask(stream, held + data if held else data, covered, last=False)

    def flush(self, stream: str = "") -> bytes:
        """Returns the bytes of a stream that are held back, masked: no more bytes will complete a form."""
        return self._mask(stream, *self._ends.get(stream, NOTHING_HELD), last=True)

    def whole(self, text: bytes) -> bytes:
        """Masks a text that is not part of a stream."""
        return _replace(text, list(self._hits(text)), len(text), 0)[0]

    def _mask(self, stream: str, text: bytes, covered: int, *, last: bool) -> bytes:
        end = len(text) if last else self._undecided(text)
        done, covered = _replace(text, list(self._hits(text)), end, covered)
        self._ends[stream] = text[end:], covered
        return done

    def _hits(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Where the forms are: half-open ranges in order, merged where they overlap."""
        if not any(anchor in text for anchor in self._anchors):
            return
        start, end = -1, -1
        for begin, stop in sorted(range_ for form in self._forms for range_ in _find_all(form, text)):
            if begin >= end:
                if end > 0:
                    yield start, end
                start = begin
            end = max(end, stop)
        if end > 0:
            yield start, end

    def _undecided(self, text: bytes) -> int:
        """The start of the longest end of the text that is a proper beginning of a form."""
        if not text or text[-1] not in self._inner:
            return len(text)
        window = max(0, len(text) - max(map(len, self._forms)) + 1)
        starts = [at for head in self._by_head for at in self._begun(head, text, window)]
        short = (len(text) - n for n in range(1, min(HEAD, len(text) + 1)) if text[-n:] in self._openings)
        return min([*starts, *short, len(text)])

    def _begun(self, head: bytes, text: bytes, window: int) -> Iterator[int]:
        """The first occurrence of this head from which the text, to its end, is the beginning of a form."""
        at = text.find(head, window)
        while at >= 0:
            rest = text[at:]
            if any(len(form) > len(rest) and form.startswith(rest) for form in self._by_head[head]):
                yield at
                return
            at = text.find(head, at + 1)

    def _index(self, forms: set[bytes]) -> None:
        self._forms = tuple(sorted(forms))
        self._anchors = tuple(form for form in forms if not any(other in form for other in forms if other != form))
        self._openings = frozenset(form[:n] for form in forms for n in range(1, HEAD))
        self._inner = frozenset(byte for form in forms for byte in form[:-1])
        self._by_head = {}
        for form in self._forms:
            self._by_head.setdefault(form[:HEAD], []).append(form)


def encode(text: str) -> bytes:
    """A text as a task sees it in its environment; a text that no environment can hold is encoded too."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def forms_of(value: bytes) -> set[bytes]:
    """All forms of a secret. `value` has at least `MIN_SECRET` bytes."""
    lines = (line.strip() for line in value.splitlines()) if b"\n" in value else ()
    texts = {value, *(line for line in lines if len(line) >= MIN_LINE)}
    urls = {spell(value, safe).encode() for spell in (quote, quote_plus) for safe in ("", "/")}
    return {*texts, *urls, *_base64_forms(value)}


def _base64_forms(value: bytes) -> Iterator[bytes]:
    """The base64 of a value at any offset in a longer text: the characters that depend on the value alone, and those up
    to the end when the value is the last part of that text.
    """
    for spell in (b64encode, urlsafe_b64encode):
        for before, mixed in ((0, 0), (1, 2), (2, 3)):
            full = spell(bytes(before) + value)[mixed:]
            alone = (before + len(value)) * 8 // 6 - mixed
            yield from (full[:alone], full.rstrip(b"="), full)


def _find_all(form: bytes, text: bytes) -> Iterator[tuple[int, int]]:
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + 1)


def _replace(text: bytes, hits: Iterable[tuple[int, int]], end: int, covered: int) -> tuple[bytes, int]:
    """The text up to `end` with its hits masked. The first `covered` bytes belong to a hit that was masked before.
    Also returns how many bytes after `end` are covered by a hit that began before it.
    """
    pieces, at = [], covered
    for start, stop in hits:
        if start >= end and start >= at:
            break
        if start >= at:
            pieces += [text[at:start], MASK]
        at = max(at, stop)
    pieces.append(text[at:end])
    return b"".join(pieces) if len(pieces) > 1 else pieces[0], max(0, at - end)
