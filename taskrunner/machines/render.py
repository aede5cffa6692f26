"""A table as text: Markdown, Mermaid, Graphviz, JSON."""

from __future__ import annotations

import json

import attrs

from taskrunner.machines.table import Table


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
    """A Mermaid state diagram of the moves; events that stay are in the table only."""
    lines = ["stateDiagram-v2", f"    [*] --> {table.initial}"]
    lines += [f"    {source} --> {target}: {label}" for source, target, label in _arrows(table)]
    return "\n".join([*lines, *(f"    {state} --> [*]" for state in table.final)]) + "\n"


def as_dot(table: Table) -> str:
    """The same diagram for Graphviz."""
    lines = [f"digraph {table.kind} {{", "    rankdir=LR; node [shape=box, style=rounded];"]
    lines += [f'    {source} -> {target} [label="{label}"];' for source, target, label in _arrows(table)]
    lines += [f"    {state} [peripheries=2];" for state in table.final]
    return "\n".join([*lines, "}"]) + "\n"


def as_json(table: Table) -> str:
    """The whole table for programs, events that stay included."""
    return json.dumps(attrs.asdict(table), indent=2) + "\n"


FORMATS = {"table": as_table, "mermaid": as_mermaid, "dot": as_dot, "json": as_json}


def _arrows(table: Table) -> list[tuple[str, str, str]]:
    labels: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        if not row.stays:
            label = f"{row.event} [{row.condition}]" if row.condition else row.event
            labels.setdefault((row.source, row.target), []).append(label)
    return [(source, target, ", ".join(events)) for (source, target), events in labels.items()]
