"""Text to plain JSON values: TOML, YAML and JSON files, read strictly.

What a format would decide silently is refused here, by line and column: a key that is given twice, NaN, a text that is
not Unicode, an alias that expands without end. Times of day become texts in ISO 8601: every document can be kept as
JSON.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Hashable, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, NoReturn

import yaml

from taskrunner.errors import Complaint, MalformedPayload
from taskrunner.limits import DOCUMENT_HINT, MAX_DOCUMENT
from taskrunner.model import Document, Json
from taskrunner.schema.validators import at_key

MAX_NODES = 100_000
"""Values in a YAML document after its aliases are expanded: nine lines of aliases make a billion of them."""

MAX_DEPTH = 64
"""Tables and lists inside each other. Every later reader recurses, and no real task is so deep."""

FORMATS = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".json": "json"}


def read_document(path: str | Path) -> Document:
    """The document in a file, by the ending of its name: `.toml`, `.yaml`, `.yml` or `.json`.

    Raises: MalformedPayload that names the file, the line and the column.
    """
    path = Path(path)
    form = FORMATS.get(path.suffix.lower())
    if not form:
        _refuse(str(path), "its name says no format", f"let it end in {', '.join(FORMATS)}")
    return parse_document(_read(path), str(path), form)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_DOCUMENT + 1)
    except OSError as error:
        problem = f"cannot be read: {error.strerror or type(error).__name__}"
        raise MalformedPayload(Complaint(str(path), problem, "give the path of a file that you may read")) from None


def parse_document(data: bytes | str, name: str, form: str = "") -> Document:
    """The document in a text, which errors call `name`. `form` is `toml`, `yaml` or `json`; without it, as
    for stdin, the first line shows which it is.

    Raises: MalformedPayload.
    """
    data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(data) > MAX_DOCUMENT:
        _refuse(name, f"is larger than {MAX_DOCUMENT} bytes", DOCUMENT_HINT)
    value = _parse(data, form or _form_of(data), name)
    if not isinstance(value, dict):
        _refuse(name, f"holds {kind_of(value)} where a table is expected", "write keys and values at the top level")
    complaints: list[Complaint] = []
    document = _plain(value, complaints)
    if complaints:
        raise MalformedPayload(
            *(Complaint(f"{name}: {c.path}" if c.path else name, c.problem, c.fix) for c in complaints)
        )
    return document  # type: ignore[no-any-return]  # a dict stays one


_TOML_LINE = re.compile(rb"""\[|[\w."'-]+\s*=""")


def _form_of(data: bytes) -> str:
    lines = (line.strip() for line in data.removeprefix(b"\xef\xbb\xbf").splitlines())
    first = next((line for line in lines if line and not line.startswith(b"#")), b"")
    if first.startswith(b"{"):
        return "json"
    return "toml" if _TOML_LINE.match(first) else "yaml"


def plain_value(value: object) -> Json:
    """A copy in JSON values only. Raises MalformedPayload for what JSON cannot hold."""
    complaints: list[Complaint] = []
    copy = _plain(value, complaints)
    if complaints:
        raise MalformedPayload(*complaints)
    return copy  # type: ignore[no-any-return]  # made of nothing else


def kind_of(value: object) -> str:
    """The kind of a value, in the words of a document, without the value itself."""
    words: dict[type, str] = {
        type(None): "null",
        bool: "true or false",
        int: "a whole number",
        float: "a number with a fraction",
        str: "a text",
        list: "a list",
        tuple: "a list",
        dict: "a table",
    }
    return words.get(type(value)) or ("a table" if isinstance(value, Mapping) else f"a {type(value).__name__}")


def _refuse(where: str, problem: str, fix: str = "") -> NoReturn:
    raise MalformedPayload(Complaint(where, problem, fix))


# ---- the three formats ----------------------------------------------------------------------------------


def _parse(data: bytes, form: str, name: str) -> Any:
    """Errors are raised outside of the `except` blocks, since a parser's own error may quote the document."""
    try:
        return _PARSERS[form](data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        where, problem = "", f"byte {error.start} is not UTF-8"
    except json.JSONDecodeError as error:
        where, problem = f":{error.lineno}:{error.colno}", error.msg
    except yaml.MarkedYAMLError as error:
        where, problem = _mark(error.problem_mark or error.context_mark), error.problem or "cannot be parsed"
    except yaml.YAMLError as error:
        where, problem = "", getattr(error, "reason", "") or "is not YAML"
    except tomllib.TOMLDecodeError as error:
        where, problem = "", str(error)
    except RecursionError:
        where, problem = "", "is nested too deeply"
    except _Unsupported as error:
        where, problem = error.where, error.problem
    except ValueError:  # a number of thousands of digits, a date that no calendar has
        where, problem = "", "holds a number or a date that cannot be read"
    _refuse(name + where, problem, f"correct the {form.upper()}")


class _Unsupported(Exception):
    """The format allows it, this library does not."""

    def __init__(self, problem: str, where: str = "") -> None:
        super().__init__(problem)
        self.problem, self.where = problem, where


def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Unsupported(f"the key {at_key('', twice)} is given twice")
    return found


def _no_constant(word: str) -> NoReturn:
    raise _Unsupported(f"{word} is not a JSON value")


class _Loader(yaml.SafeLoader):
    """SafeLoader without duplicate keys, endless aliases and dates (which stay texts)."""

    yaml_implicit_resolvers = {  # noqa: RUF012  the base class declares it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count_values(node, {})
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if (key.tag, str(key.value)) in seen:
                raise _Unsupported("this key is given twice", _mark(key.start_mark))
            seen.add((key.tag, str(key.value)))
        return super().construct_mapping(node, deep)


def _count_values(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """How many values a node becomes once its aliases are expanded."""
    if node not in known:
        known[node] = MAX_NODES  # until it is counted: a node that is met again meanwhile is inside itself
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = (part for child in children for part in (child if isinstance(child, tuple) else (child,)))
        known[node] = 1 + sum(_count_values(part, known) for part in flat)
    if known[node] > MAX_NODES:
        raise _Unsupported(f"its aliases expand to more than {MAX_NODES} values", _mark(node.start_mark))
    return known[node]


def _mark(mark: yaml.Mark | None) -> str:
    return f":{mark.line + 1}:{mark.column + 1}" if mark else ""


def _read_yaml(text: str) -> Any:
    return yaml.load(text, _Loader)  # noqa: S506  a SafeLoader, made stricter


_PARSERS: Mapping[str, Callable[[str], Any]] = {"toml": tomllib.loads, "yaml": _read_yaml, "json": _read_json}


# ---- plain values ---------------------------------------------------------------------------------------

Place = tuple[Any, str | int] | None
"""Where a value is: the place of its container, and its key or index. Formatted only for a complaint."""


def _plain(value: Any, complaints: list[Complaint], place: Place = None, depth: int = 0) -> Any:
    """A copy in JSON values. A value that cannot be one is left out and adds a complaint."""
    if value is None or type(value) is int:
        return value  # the fast path, for large documents
    if isinstance(value, Mapping | list | tuple):
        if depth >= MAX_DEPTH:
            complaints.append(Complaint("", f"is nested deeper than {MAX_DEPTH} levels", "write it flatter"))
            return None
        return _plain_inside(value, complaints, place, depth + 1)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if problem := _no_json(value):
        complaints.append(Complaint(_path_of(place), *problem))
    return value


def _plain_inside(value: Any, complaints: list[Complaint], place: Place, depth: int) -> Any:
    if not isinstance(value, Mapping):
        return [_plain(item, complaints, (place, i), depth) for i, item in enumerate(value)]
    for key in value:
        if not isinstance(key, str) or _no_json(key):
            complaints.append(Complaint(_path_of(place), f"has a key that is {kind_of(key)}", "write a text in quotes"))
            return None
    return {key: _plain(item, complaints, (place, key), depth) for key, item in value.items()}


def _path_of(place: Place) -> str:
    if place is None:
        return ""
    above, last = place
    return at_key(_path_of(above), last) if isinstance(last, str) else f"{_path_of(above)}[{last}]"


_HALF = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair: JSON can hold one, UTF-8 cannot."""


def _no_json(value: object) -> tuple[str, str] | None:
    if isinstance(value, float) and not math.isfinite(value):
        return "is not a finite number", "write a number, or leave it out"
    if isinstance(value, str) and _HALF.search(value):
        return "holds half of a surrogate pair", "write the whole character"
    if value is None or isinstance(value, str | int | float):
        return None
    return f"is {kind_of(value)}, which a document cannot hold", "write a text, a number, a list or a table"
