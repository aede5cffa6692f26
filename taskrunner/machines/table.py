"""A machine's declaration as a table, for pages, diagrams, exhaustive tests and simulations.

The declaration is the only truth: no state and no event is named here. A feature that a row cannot express, such as an
action on entering a state, is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import new_class
from typing import Any

import attrs
from statemachine import State
from statemachine.transition_list import TransitionList

from taskrunner.errors import Bug
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
    """Names of conditions, joined by `and`, each with `not` before it if it must be false; empty: always."""
    action: str = ""
    """Name of the model's method."""

    @property
    def stays(self) -> bool:
        return self.source == self.target

    def holds(self, model: object) -> bool:
        """Whether its condition is met."""
        return not self.condition or all(_holds(part, model) for part in self.condition.split(AND))


@attrs.frozen
class Table:
    """All states, events and transitions of a machine."""

    kind: str
    states: tuple[str, ...]
    initial: str
    final: tuple[str, ...]
    events: tuple[str, ...]
    rows: tuple[Row, ...]
    """In the order in which they are tried."""

    @property
    def actions(self) -> set[str]:
        """The names of all actions."""
        return {row.action for row in self.rows if row.action}

    @property
    def conditions(self) -> set[str]:
        """The names in all conditions."""
        return {part.removeprefix(NOT) for row in self.rows for part in row.condition.split(AND) if part}

    def knows(self, state: str, event: str) -> bool:
        return any((row.source, row.event) == (state, event) for row in self.rows)


def read_table(chart: type[Chart[Any]]) -> Table:
    """The table of a chart, in the order of its declaration. Raises: Bug, naming a feature that no row can express."""
    states: tuple[State, ...] = tuple(chart.states)
    for state in states:
        _check_state(chart, state)
    return Table(
        kind=chart.kind,
        states=tuple(state.id for state in states),
        initial=next(state.id for state in states if state.initial),
        final=tuple(state.id for state in states if state.final),
        events=tuple(str(event) for event in _events(chart)),
        rows=tuple(_rows(chart, states)),
    )


def declare(table: Table, *, complete: bool = True) -> type[Chart[Any]]:
    """The chart of a table: the reverse of `read_table`. For a machine with some rows other than a shipped one.

    A table that is not `complete` may have states that nothing leads to, or that nothing leads out of.
    """
    states = {
        name: State(initial=name == table.initial, final=name in table.final, value=name) for name in table.states
    }
    events: dict[str, TransitionList] = {name: TransitionList() for name in table.events}
    for row in table.rows:
        how: dict[str, Any] = {"cond": row.condition or None, "on": row.action or None, "internal": row.stays or None}
        events[row.event] |= states[row.source].to(states[row.target], **how)
    checks = dict.fromkeys(
        ("validate_disconnected_states", "validate_trap_states", "validate_final_reachability"), complete
    )
    members = {"kind": table.kind, "__module__": __name__, **checks, **states, **events}
    return new_class(f"{table.kind.title()}Chart", (Chart,), exec_body=lambda body: body.update(members))


def called_by_name(table: Table) -> list[str]:
    """The methods that python-statemachine calls on a model because of their names."""
    states = [f"{when}_{state}" for when in ("on_enter", "on_exit") for state in ("state", *table.states)]
    events = [f"{when}_{event}" for when in ("before", "on", "after") for event in ("transition", *table.events)]
    return ["prepare_event", *states, *events]


def _events(chart: type[Chart[Any]]) -> Any:
    return chart.events  # a property of the metaclass, which its type hints take for a method


def _rows(chart: type[Chart[Any]], states: tuple[State, ...]) -> Iterator[Row]:
    for state in states:
        for transition in state.transitions:
            _check_transition(chart, transition)
            for event in transition.events:
                yield Row(
                    state.id, str(event), transition.target.id, _condition(chart, transition), _action(transition)
                )


# ---- what no row can express ----------------------------------------------------------------------------


def _check_state(chart: type[Chart[Any]], state: Any) -> None:
    if state.value != state.id or state.parallel or state.states or state.history:
        raise _beyond(chart, f"the state {state.id}, which has a value or states of its own")
    for group in (state.enter, state.exit, state.invoke):
        if named := _named(chart, group):
            raise _beyond(chart, f"{named[0]}, an action on entering, leaving or being in {state.id}")


def _check_transition(chart: type[Chart[Any]], transition: Any) -> None:
    where = f"a transition of {transition.source.id}"
    if not list(transition.events):
        raise _beyond(chart, f"{where} without an event")
    for group in (transition.validators, transition.before, transition.after):
        if named := _named(chart, group):
            raise _beyond(chart, f"{named[0]}, a validator or an action before or after {where}")
    if len(actions := _named(chart, transition.on)) > 1:
        raise _beyond(chart, f"{' and '.join(actions)}, two actions of {where}")
    if transition.source is transition.target and not transition.internal:
        raise _beyond(chart, f"{where} that leaves it and enters it again")


def _named(chart: type[Chart[Any]], group: Any) -> list[str]:
    """The callbacks of a group, with those of the chart that the library finds by their names."""
    return [str(spec.func) for spec in group if not spec.is_convention or hasattr(chart, str(spec.func))]


def _action(transition: Any) -> str:
    return " ".join(str(spec.func) for spec in transition.on if not spec.is_convention)


def _condition(chart: type[Chart[Any]], transition: Any) -> str:
    return AND.join(_part(chart, spec) for spec in transition.cond)


def _part(chart: type[Chart[Any]], spec: Any) -> str:
    text = spec.func if isinstance(spec.func, str) else ""
    negated = spec.expected_value is False
    parts = text.split(AND)
    if not all(part.removeprefix(NOT).isidentifier() for part in parts) or (
        negated and (len(parts), text) != (1, parts[0])
    ):
        raise _beyond(chart, f"the condition {spec.func!r}")
    return f"{NOT}{text}" if negated else text


def _beyond(chart: type[Chart[Any]], what: str) -> Bug:
    return Bug(f"the table of the {chart.kind} machine cannot express {what}")


def _holds(part: str, model: object) -> bool:
    return bool(getattr(model, part.removeprefix(NOT))) is not part.startswith(NOT)
