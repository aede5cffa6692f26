"""A run with a state of its own: between running and uploading it attests its results."""
# ruff: noqa: S101

import hashlib
from collections.abc import AsyncIterator, Mapping

import attrs

from taskrunner import Attempt, Machine, Row, Signal, Step, Table, TaskChart, TaskRun, declare, read_table


def with_attesting(table: Table) -> Table:
    """The shipped table, but `exited` leads to `attesting`, which has copies of all other rows of `running`."""
    detour = [attrs.evolve(row, target="attesting") if row.event == "exited" else row for row in table.rows]
    known = [row for row in table.rows if row.source == "running" and row.event != "exited"]
    attesting = [attrs.evolve(row, source="attesting") for row in known]
    return attrs.evolve(
        table,
        states=(*table.states, "attesting"),
        events=(*table.events, "attested"),
        rows=(*detour, *attesting, Row("attesting", "attested", "uploading")),
    )


class AttestingMachine(Machine[Attempt]):
    chart = declare(with_attesting(read_table(TaskChart)))


class AttestingRun(TaskRun):
    machine_class = AttestingMachine

    def steps(self) -> Mapping[str, Step]:
        return {**super().steps(), "attesting": Step(self.attest, limit=60.0)}

    async def attest(self) -> Signal:
        digest = hashlib.sha256()
        if self.results:
            async for entry in self.results.archive_folder("."):
                digest.update(entry.name.encode())
                async for chunk in entry.read():
                    digest.update(chunk)
        await self.services.store.put(self.claim.run, "attestation.txt", _once(digest.hexdigest().encode()))
        return Signal("attested")


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def test_a_cancel_while_attesting_goes_straight_to_cleanup() -> None:
    machine = AttestingMachine(Attempt(state="running"))
    assert machine.take(Signal("exited", {"code": 0})).target == "attesting"
    assert machine.take(Signal("cancel")).target == "cleanup"
    assert machine.model.lost
