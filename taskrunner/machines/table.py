"""A machine's declaration, read back as a table: what pages, diagrams and exhaustive tests are made from.

There is no second truth: nothing here knows a state or an event by its name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs

from taskrunner.machines.chart import Chart

AND = " and "
NOT = "not "


@attrs.frozen
class Row:
    """One declared transition."""

    source: str
    event: str
    target: str
    condition: str = ""
    """Name of what must hold for it, with `not ` before it where it must not; empty: always."""
    action: str = ""
    """Name of what the model does."""

    @property
    def stays(self) -> bool:
        return self.source == self.target

    def holds(self, model: object) -> bool:
        """Whether its condition is met."""
        return not self.condition or all(_holds(part, model) for part in self.condition.split(AND))


@attrs.frozen
class Table:
    """All of a machine."""

    kind: str
    states: tuple[str, ...]
    initial: str
    final: tuple[str, ...]
    events: tuple[str, ...]
    rows: tuple[Row, ...]

    def knows(self, state: str, event: str) -> bool:
        return any((row.source, row.event) == (state, event) for row in self.rows)


def read(chart: type[Chart[Any]]) -> Table:
    """The table of a machine, in the order of its declaration."""
    states = tuple(chart.states)
    return Table(
        kind=chart.kind,
        states=tuple(state.id for state in states),
        initial=next(state.id for state in states if state.initial),
        final=tuple(state.id for state in states if state.final),
        events=tuple(str(event) for event in _events(chart)),
        rows=tuple(_rows(states)),
    )


def _events(chart: type[Chart[Any]]) -> Any:
    return chart.events  # a property of the metaclass, which its type hints take for a method


def _rows(states: tuple[Any, ...]) -> Iterator[Row]:
    for state in states:
        for transition in state.transitions:
            for event in transition.events:
                yield Row(state.id, str(event), transition.target.id, _condition(transition), _named(transition, "ON"))


def _condition(transition: Any) -> str:
    specs = [spec for spec in transition._specs if spec.group.name == "COND"]  # noqa: SLF001  it has no public reader
    return AND.join(f"{'' if spec.expected_value in (True, None) else NOT}{spec.func}" for spec in specs)


def _holds(part: str, model: object) -> bool:
    return bool(getattr(model, part.removeprefix(NOT))) is not part.startswith(NOT)


def _named(transition: Any, group: str) -> str:
    specs = [spec for spec in transition._specs if spec.group.name == group and not spec.is_convention]  # noqa: SLF001
    return " ".join(str(spec.func) for spec in specs)


# ---- as text --------------------------------------------------------------------------------------------


def as_table(table: Table) -> str:
    """Every state and event as a Markdown table; `·` stays, an empty cell is refused."""
    head = ["event", *table.states]
    body = [[event, *(_cell(table, state, event) for state in table.states)] for event in table.events]
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]
    lines = [_line(head, widths), "|" + "|".join("-" * (width + 2) for width in widths) + "|"]
    return "\n".join([*lines, *(_line(row, widths) for row in body)]) + "\n"


def _line(cells: list[str], widths: list[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _cell(table: Table, state: str, event: str) -> str:
    rows = [row for row in table.rows if (row.source, row.event) == (state, event)]
    parts = []
    for row in rows:
        what = "·" if row.stays else f"→ {row.target}"
        parts.append(
            what + (f" if {row.condition}" if row.condition else "") + (f" ({row.action})" if row.action else "")
        )
    return ", ".join(parts)


def as_mermaid(table: Table) -> str:
    """A Mermaid state diagram of the moves; what stays is in the table."""
    lines = ["stateDiagram-v2", f"    [*] --> {table.initial}"]
    lines += [f"    {source} --> {target}: {label}" for source, target, label in _arrows(table)]
    return "\n".join([*lines, *(f"    {state} --> [*]" for state in table.final)]) + "\n"


def as_dot(table: Table) -> str:
    """The same for Graphviz."""
    lines = [f"digraph {table.kind} {{", "    rankdir=LR; node [shape=box, style=rounded];"]
    lines += [f'    {source} -> {target} [label="{label}"];' for source, target, label in _arrows(table)]
    lines += [f"    {state} [peripheries=2];" for state in table.final]
    return "\n".join([*lines, "}"]) + "\n"


def as_json(table: Table) -> str:
    """Everything, staying moves included, for programs."""
    return json.dumps(attrs.asdict(table), indent=2) + "\n"


FORMATS = {"table": as_table, "mermaid": as_mermaid, "dot": as_dot, "json": as_json}


def _arrows(table: Table) -> list[tuple[str, str, str]]:
    labels: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        if not row.stays:
            label = f"{row.event} [{row.condition}]" if row.condition else row.event
            labels.setdefault((row.source, row.target), []).append(label)
    return [(source, target, ", ".join(events)) for (source, target), events in labels.items()]
