"""The story of a run, as its worker's home tells it."""

from __future__ import annotations

from pathlib import Path

from taskrunner.model import RunKey, RunStory
from taskrunner.state.journal_reader import left_behind, notes, pruned_at, read_journal, state_visits
from taskrunner.state.leftovers import leftovers
from taskrunner.state.run_folder import RunFolder


def read_story(home: Path, run: RunKey) -> RunStory:
    """An empty one of a run that this home does not know. Raises OSError."""
    records = read_journal(RunFolder(home, run).journal)
    still = [problem for leftover in leftovers(home) if leftover.run == run for problem in leftover.problems]
    return RunStory(state_visits(records), notes(records), left_behind(records), tuple(still), pruned_at(records))
