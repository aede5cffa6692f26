"""The language of `if`.

::

    either      success()   failure()   always()   ! x   x && y   x || y   ( x )   a == b   a != b
    a and b     'text'   steps.ID.outcome   steps.ID.outputs.NAME

A condition that names none of the three functions holds only while no step has failed, as if it began with
`success() &&`: so it is with GitHub, whose language this is a part of. What a skipped step would have said is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, get_args

import attrs

from taskrunner.limits import ENV_PATTERN

Outcome = Literal["success", "failed", "skipped", "stopped"]
"""How a step ended; `stopped` when the whole run was ended while it ran."""

OUTCOMES: tuple[str, ...] = get_args(Outcome)

MAX_DEPTH = 20
"""Of parentheses and negations within each other; what is deeper was not written by a person."""

_TOKEN = re.compile(r"\s*(?:('(?:[^']|'')*')|([A-Za-z_][\w.-]*(?:\(\s*\))?)|(==|!=|&&|\|\||[!()]))")
REFERENCE = re.compile(rf"steps\.([A-Za-z_][A-Za-z0-9_-]*)\.(?:outcome|outputs\.({ENV_PATTERN}))")
"""A step, and its output or its outcome."""


class ConditionError(ValueError):
    """A condition that cannot be understood. The text says which part."""


@attrs.frozen
class StepFacts:
    """What a condition can ask for."""

    failed: bool = False
    """Whether a step has failed."""
    outcomes: Mapping[str, str] = attrs.field(factory=dict)
    """By the id of the step."""
    outputs: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    """By the id of the step, then by their own name."""


_Test = Callable[[StepFacts], bool]
_Value = Callable[[StepFacts], str]

_FUNCTIONS: Mapping[str, _Test] = {
    "success()": lambda facts: not facts.failed,
    "failure()": lambda facts: facts.failed,
    "always()": lambda _: True,
}


@attrs.frozen
class Condition:
    """A condition that was understood."""

    holds: Callable[[StepFacts], bool]
    steps: frozenset[str] = frozenset()
    """The ids of the steps that it asks about."""


def parse_condition(text: str) -> Condition:
    """Understands a condition; an empty one is `success()`. Raises ConditionError."""
    if not text.strip():
        return Condition(_FUNCTIONS["success()"])
    parser = _Parser(list(_tokens(text)))
    test = parser.parse()
    if parser.asks_status:
        return Condition(test, frozenset(parser.steps))
    return Condition(lambda facts: not facts.failed and test(facts), frozenset(parser.steps))


def _tokens(text: str) -> Iterator[str]:
    at = 0
    text = text.rstrip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise ConditionError(f"is not understood from {text[at:].strip()[:20]!r} on")
        yield re.sub(r"\s", "", found[2]) if found[2] else found[1] or found[3]
        at = found.end()


@attrs.define
class _Parser:
    """By recursive descent; `||` binds less than `&&`, and that less than `!`."""

    tokens: list[str]
    at: int = 0
    depth: int = 0
    asks_status: bool = False
    steps: set[str] = attrs.field(factory=set)

    def parse(self) -> _Test:
        test = self._either()
        if self._next:
            raise ConditionError(f"is not understood from {self._next!r} on")
        return test

    @property
    def _next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _take(self) -> str:
        token = self._next
        self.at += 1
        return token

    def _either(self) -> _Test:
        tests = [self._both()]
        while self._next == "||":
            self._take()
            tests.append(self._both())
        return lambda facts: any(test(facts) for test in tests)

    def _both(self) -> _Test:
        tests = [self._one()]
        while self._next == "&&":
            self._take()
            tests.append(self._one())
        return lambda facts: all(test(facts) for test in tests)

    def _one(self) -> _Test:
        if self._next not in ("!", "("):
            return self._simple()
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ConditionError(f"is nested more than {MAX_DEPTH} deep")
        test = self._negation() if self._take() == "!" else self._parenthesis()
        self.depth -= 1
        return test

    def _negation(self) -> _Test:
        test = self._one()
        return lambda facts: not test(facts)

    def _parenthesis(self) -> _Test:
        test = self._either()
        if self._take() != ")":
            raise ConditionError("has a `(` without its `)`")
        return test

    def _simple(self) -> _Test:
        token = self._take()
        if token.endswith("()"):
            return self._function(token)
        left, sign = self._value(token), self._take()
        if sign not in ("==", "!="):
            raise ConditionError(f"compares {token!r} with nothing: write == or != after it")
        other = self._take()
        right = self._value(other)
        for reference, text in ((token, other), (other, token)):
            _check_outcome(reference, text)
        return lambda facts: (left(facts) == right(facts)) == (sign == "==")

    def _function(self, token: str) -> _Test:
        if token not in _FUNCTIONS:
            raise ConditionError(f"has no function {token}: there are {', '.join(_FUNCTIONS)}")
        self.asks_status = True
        return _FUNCTIONS[token]

    def _value(self, token: str) -> _Value:
        if token.startswith("'"):
            text = _unquoted(token)
            return lambda _: text
        found = REFERENCE.fullmatch(token)
        if not found:
            what = f"has {token!r}" if token else "ends"
            raise ConditionError(f"{what} where a 'text', steps.ID.outcome or steps.ID.outputs.NAME belongs")
        step, name = found.groups()
        self.steps.add(step)
        if name is None:
            return lambda facts: facts.outcomes.get(step, "")
        return lambda facts: facts.outputs.get(step, {}).get(name, "")


def _unquoted(token: str) -> str:
    return token[1:-1].replace("''", "'")


def _check_outcome(reference: str, text: str) -> None:
    """A misspelt outcome would never be met, silently."""
    if reference.endswith(".outcome") and text.startswith("'") and _unquoted(text) not in OUTCOMES:
        raise ConditionError(f"compares an outcome with {text}: it is one of {', '.join(OUTCOMES)}")
