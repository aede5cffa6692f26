"""What is wrong with a document, out of the errors of cattrs: each problem with its path, and with what to write."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator

import attrs
import cattrs

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.schema.field_types import document_key
from taskrunner.schema.validators import at_key, below

UNKNOWN_KEY = "is not known here"
"""The problem of a key that a class has no field for."""


def refusal(problem: str, fix: str = "") -> MalformedPayload:
    """The complaint about a value. Its path is added where it is caught."""
    return MalformedPayload(Complaint("", problem, fix))


def suggestion(word: str, known: Collection[str]) -> str:
    """`did you mean ...?` if a known word is similar, else the list of known words."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known)) or 'none'}"


def complaints_of(error: BaseException, path: str, known: Collection[str] = ()) -> Iterator[Complaint]:
    """Everything that an error of cattrs says. `path` goes before each path, and `known` are keys that stand beside
    those of the class. Raises the error itself, when it is no complaint about a document."""
    if isinstance(error, cattrs.BaseValidationError):
        for part in error.exceptions:
            yield from complaints_of(part, _path_of(part, path), known if _path_of(part, path) == path else ())
    elif isinstance(error, MalformedPayload):
        yield from (Complaint(below(path, c.path), c.problem, c.fix) for c in error.complaints)
    elif isinstance(error, cattrs.ForbiddenExtraKeysError):
        names = [*(document_key(f.name) for f in attrs.fields(error.cl)), *known]
        for key in sorted(error.extra_fields):
            yield Complaint(at_key(path, key), UNKNOWN_KEY, suggestion(key, names))
    elif isinstance(error, KeyError):
        yield Complaint(path, "is missing", "add it")
    elif isinstance(error, ValueError | TypeError):
        yield Complaint(path, str(error))
    else:
        raise error


def _path_of(error: BaseException, path: str) -> str:
    """The path of an error, by the note of cattrs."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, cattrs.AttributeValidationNote):
            return at_key(path, document_key(note.name))
        if isinstance(note, cattrs.IterableValidationNote):
            return f"{path}[{note.index}]" if isinstance(note.index, int) else at_key(path, note.index)
    return path
