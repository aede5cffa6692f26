"""Hides secrets in the streams of a log, wherever these are cut into pieces.

The masker hides the *forms* of each secret (`taskrunner.log.forms`). Every occurrence is found, overlapping ones too;
occurrences that overlap become one `***`.

It cannot hide a secret that the task itself encodes in another way, reverses, or prints a part at a time.

Speed: a text without a hit costs one `bytes.find` for each form that holds no other of its secret, and no step per
byte. Forms with a rare byte in them (an escape) cost one search for that byte, and many forms one look at the text
(`taskrunner.log.needles`).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator

import attrs

from taskrunner.interfaces.log import OutputMasker
from taskrunner.log.forms import Forms, encode, forms_of
from taskrunner.log.needles import Needles

MASK = b"***"

MIN_SECRET = 4
"""Bytes. A shorter value is refused: it would match ordinary words and numbers all over a log, which makes the log
unreadable and reveals the value by the gaps. Others refuse less than 4 (Woodpecker), 6 (Buildkite) or 8 (GitLab)."""

HEAD = 4
"""Bytes at the start of a form, by which the end of a text is searched for beginnings of it. No form is shorter, and no
line break is in them."""

GATES = (b"\0", b"\\", b"%", b"&")
"""Bytes that are rare in a log: forms that have one are searched for only where it is."""

BREAK = rb"(?:\r?\n)?"
BREAKS = b"\r\n"

NOTHING_HELD = b"", 0


class Masker:
    """Masks the streams of one log: `feed` each in order, `flush` it at the end. Not safe for several threads at once.

    Each stream is masked on its own: a secret in stderr is found although a piece of stdout lies in the middle of it.
    """

    def __init__(self) -> None:
        self._forms = Forms()
        self._anchors: dict[bytes, Needles] = {}
        """Exact forms that hold no other of their secret, by their gate; those without one have an empty gate."""
        self._wrapped_anchors = Needles()
        self._patterns: dict[bytes, re.Pattern[bytes]] = {}
        """Of the wrapped forms. Made when one of them may be in a text: most logs have none, and making one takes
        longer than all other work for a secret."""
        self._by_head: dict[bytes, list[tuple[bytes, bool]]] = {}
        """Head to the forms that begin with it, and whether a form may have line breaks in it."""
        self._openings = frozenset[bytes]()
        self._inner = frozenset(BREAKS)
        self._longest = 0
        self._ends: dict[str, tuple[bytes, int]] = {}
        """Stream to the bytes that it holds back, and how many of these belong to a form that was masked before."""

    def add(self, secret: str) -> bool:
        """Hides this value from now on, also in the bytes that are held back. False: it is too short to be hidden
        (`MIN_SECRET`). White space around it does not count, since programs often strip it; an empty value is ignored.
        """
        value = encode(secret).strip()
        if len(value) < MIN_SECRET:
            return not value
        self._index(forms_of(value))
        return True

    def feed(self, data: bytes, stream: str = "") -> bytes:
        """Takes the next bytes of a stream and returns, masked, those that are decided now. It holds back the longest
        end that may still become a form, which is shorter than the longest form with its line breaks.
        """
        held, covered = self._ends.get(stream, NOTHING_HELD)
        return self._mask(stream, held + data if held else data, covered, last=False)

    def flush(self, stream: str = "") -> bytes:
        """Returns the bytes of a stream that are held back, masked: no more bytes will complete a form."""
        return self._mask(stream, *self._ends.get(stream, NOTHING_HELD), last=True)

    def whole(self, text: bytes) -> bytes:
        """Masks a text that is not part of a stream."""
        return _replace(text, self._hits(text), len(text), 0)[0]

    def _mask(self, stream: str, text: bytes, covered: int, *, last: bool) -> bytes:
        end = len(text) if last else self._undecided(text)
        done, covered = _replace(text, self._hits(text), end, covered)
        self._ends[stream] = text[end:], covered
        return done

    # ---- forms in a text --------------------------------------------------------------------------------

    def _hits(self, text: bytes) -> list[tuple[int, int]]:
        """Where the forms are: half-open ranges in order, merged where they overlap."""
        if not self._longest:
            return []  # most logs have no secret to hide
        return list(_merged(sorted([*self._exact_hits(text), *self._wrapped_hits(text)])))

    def _exact_hits(self, text: bytes) -> Iterator[tuple[int, int]]:
        if any(gate in text and anchors.any_in(text) for gate, anchors in self._anchors.items()):
            for form in self._forms.exact:
                yield from _find_all(form, text)

    def _wrapped_hits(self, text: bytes) -> Iterator[tuple[int, int]]:
        joined = text.translate(None, BREAKS)
        if self._wrapped_anchors.any_in(joined):
            for form in self._forms.wrapped:
                pattern = self._patterns.get(form) or self._patterns.setdefault(form, _pattern(form))
                yield from (match.span(1) for match in pattern.finditer(text))

    # ---- beginnings of forms at the end of a text -------------------------------------------------------

    def _undecided(self, text: bytes) -> int:
        """The start of the longest end of the text that is a proper beginning of a form."""
        if not text or text[-1] not in self._inner:
            return len(text)
        window = max(0, len(text) - self._longest + 1)
        starts = [at for head in self._by_head for at in self._begun(head, text, window)]
        short = (len(text) - n for n in range(1, min(HEAD, len(text) + 1)) if text[-n:] in self._openings)
        return min([*starts, *short, len(text)])

    def _begun(self, head: bytes, text: bytes, window: int) -> Iterator[int]:
        """The first occurrence of this head from which the text, to its end, is the beginning of a form."""
        at = text.find(head, window)
        while at >= 0:
            if any(_begins(form, text[at:], wrapped=wrapped) for form, wrapped in self._by_head[head]):
                yield at
                return
            at = text.find(head, at + 1)

    # ---- the index of all forms -------------------------------------------------------------------------

    def _index(self, added: Forms) -> None:
        """The forms of one secret are compared with each other only: with those of all the others, the time for a
        secret would grow with their number, and they rarely hold one another."""
        new = added - self._forms
        self._forms |= new
        for anchor in _anchors(new.exact):
            gate = next((gate for gate in GATES if gate in anchor), b"")
            self._anchors.setdefault(gate, Needles()).add([anchor])
        self._wrapped_anchors.add(_anchors(new.wrapped))
        everything = new.exact | new.wrapped
        self._openings |= {form[:n] for form in everything for n in range(1, HEAD)}
        self._inner |= {byte for form in everything for byte in form[:-1]}
        self._longest = max([self._longest, *map(len, new.exact), *(3 * len(form) for form in new.wrapped)])
        for group, wrapped in ((new.exact, False), (new.wrapped, True)):
            for form in group:
                self._by_head.setdefault(form[:HEAD], []).append((form, wrapped))


@attrs.frozen
class StreamMasker(OutputMasker):
    """One stream of a masker that several threads share."""

    masker: Masker
    stream: str
    lock: threading.Lock

    def feed(self, data: bytes) -> bytes:
        with self.lock:
            return self.masker.feed(data, self.stream)

    def flush(self) -> bytes:
        with self.lock:
            return self.masker.flush(self.stream)


def _anchors(forms: Iterable[bytes]) -> tuple[bytes, ...]:
    """The forms that hold no other form: where none of them is, no form is."""
    kept: list[bytes] = []
    for form in sorted(forms, key=len):
        if not any(other in form for other in kept):
            kept.append(form)
    return tuple(kept)


def _pattern(form: bytes) -> re.Pattern[bytes]:
    """Finds a form, also where it overlaps itself, with at most one line break before each byte after its head."""
    rest = b"".join(BREAK + re.escape(form[at : at + 1]) for at in range(HEAD, len(form)))
    return re.compile(b"(?=(" + re.escape(form[:HEAD]) + rest + b"))")


def _begins(form: bytes, text: bytes, *, wrapped: bool) -> bool:
    """Whether the text is a proper beginning of the form."""
    if not wrapped:
        return len(form) > len(text) and form.startswith(text)
    whole = text.removesuffix(b"\r").replace(b"\r\n", b"\n")
    joined = whole.replace(b"\n", b"")
    return b"\n\n" not in whole and b"\r" not in joined and len(form) > len(joined) and form.startswith(joined)


def _find_all(form: bytes, text: bytes) -> Iterator[tuple[int, int]]:
    at = text.find(form)
    while at >= 0:
        yield at, at + len(form)
        at = text.find(form, at + 1)


def _merged(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    start, end = -1, -1
    for begin, stop in ranges:
        if begin >= end:
            if end > 0:
                yield start, end
            start = begin
        end = max(end, stop)
    if end > 0:
        yield start, end


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
