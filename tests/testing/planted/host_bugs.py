"""Bugs of hosts."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import Mapping
from typing import Any

import attrs

from taskrunner import Leave
from tests.testing.planted.small_host import HOSTS, Service, SmallHost


@HOSTS.caught_by("test_it_has_an_identity")
class HasNoName(SmallHost):
    """Labels of this machine, for logs: at least `host`."""

    @property
    def identity(self) -> Mapping[str, str]:
        return {"zone": "b"}


@HOSTS.caught_by("test_it_has_an_identity")
class HasAnEmptyName(SmallHost):
    """Labels of this machine, for logs: at least `host`."""

    @property
    def identity(self) -> Mapping[str, str]:
        return {"host": ""}


@HOSTS.caught_by("test_it_has_an_identity")
class HasNumbersAsLabels(SmallHost):
    """Labels are texts."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"host": "small-1", "cores": 2}


@HOSTS.caught_by("test_it_has_an_identity")
class HasANewNameEachTime(SmallHost):
    """Labels of this machine."""

    @property
    def identity(self) -> Mapping[str, str]:
        return {"host": uuid.uuid4().hex}


@HOSTS.caught_by("test_it_has_a_configuration")
class HasNoConfiguration(SmallHost):
    """The worker's configuration, as a nested mapping."""

    def load_config(self) -> Any:
        return None


@HOSTS.caught_by("test_it_has_a_configuration")
class HasTheConfigurationAsText(SmallHost):
    """As a nested mapping."""

    def load_config(self) -> Any:
        return json.dumps(super().load_config())


@HOSTS.caught_by("test_it_has_a_configuration")
class HasBytesInTheConfiguration(SmallHost):
    """As a nested mapping."""

    def load_config(self) -> Mapping[str, Any]:
        return {"capacity": 2, "process": {"user": b"nobody"}}


@HOSTS.caught_by("test_it_has_a_configuration")
class ChoosesAHostAgain(SmallHost):
    """Every key but `host`, which has been chosen by then."""

    def load_config(self) -> Mapping[str, Any]:
        return {**super().load_config(), "host": "small"}


@HOSTS.caught_by("test_it_has_an_identity")
class AsksForItsIdentity(SmallHost):
    """Labels of this machine. Returns at once."""

    @property
    def identity(self) -> Mapping[str, str]:
        time.sleep(0.01)
        return super().identity


@HOSTS.caught_by("test_a_configuration_that_cannot_be_loaded_is_a_config_error")
class RaisesAnotherErrorForItsConfiguration(SmallHost):
    """Raises: ConfigError."""

    def load_config(self) -> Mapping[str, Any]:
        return {**self.service.config}  # type: ignore[dict-item]


@HOSTS.caught_by("test_a_configuration_that_cannot_be_loaded_is_a_config_error")
class GoesOnWithoutAConfiguration(SmallHost):
    """Raises: ConfigError."""

    def load_config(self) -> Mapping[str, Any]:
        return self.service.config or {}


@HOSTS.caught_by("test_without_a_notice_the_worker_stays")
class GivesANoticeAtOnce(SmallHost):
    """Waits for the next notice."""

    async def shutting_down(self) -> Leave:
        return self.look() or Leave(immediate=False, why="nothing")


@HOSTS.caught_by("test_without_a_notice_the_worker_stays")
class AlwaysHasANotice(SmallHost):
    """Whether a notice has arrived."""

    def should_shutdown_now(self) -> bool:
        return True


@HOSTS.caught_by("test_whether_a_notice_has_arrived_is_known_from_then_on")
class NeverHasANotice(SmallHost):
    """Whether a notice has arrived."""

    def should_shutdown_now(self) -> bool:
        return False


@HOSTS.caught_by("test_whether_a_notice_has_arrived_is_known_from_then_on")
class ForgetsANoticeThatWasGiven(SmallHost):
    """Whether a notice has arrived."""

    def should_shutdown_now(self) -> bool:
        return len(self.notices()) > self.given


@HOSTS.caught_by("test_cancelling_loses_no_notice", hangs=True)
class LosesANoticeBetweenTheAnswerAndItsReturn(SmallHost):
    """Cancelling the call loses no notice."""

    async def shutting_down(self) -> Leave:
        notice = await super().shutting_down()
        await asyncio.sleep(0)  # acknowledges it
        return notice


@HOSTS.caught_by("test_cancelling_loses_no_notice", hangs=True)
class LosesANoticeOfACancelledWait(SmallHost):
    """Cancelling the call loses no notice."""

    async def shutting_down(self) -> Leave:
        try:
            return await super().shutting_down()
        except asyncio.CancelledError:
            self.given = len(self.notices())
            raise


@HOSTS.caught_by("test_cancelling_loses_no_notice")
class StopsLookingAfterACancelledWait(SmallHost):
    """Cancelling the call loses no notice."""

    looker: asyncio.Task[Leave] | None = None

    async def shutting_down(self) -> Leave:
        self.looker = self.looker or asyncio.create_task(super().shutting_down())
        return await self.looker


@HOSTS.caught_by("test_a_notice_before_the_first_wait_is_kept", hangs=True)
class BeginsToListenLate(SmallHost):
    """A notice before the call is kept."""

    began = False

    async def shutting_down(self) -> Leave:
        if not self.began:
            self.began, self.given = True, len(self.notices())
        return await super().shutting_down()


@HOSTS.caught_by("test_a_later_notice_that_nobody_waits_for_is_kept", hangs=True)
class ListensWhileSomebodyWaitsAlone(SmallHost):
    """Waits for the next notice. Called again after each."""

    async def shutting_down(self) -> Leave:
        if self.last:
            self.given = len(self.notices())
        return await super().shutting_down()


@HOSTS.caught_by("test_a_notice_comes_once")
class RepeatsTheNotice(SmallHost):
    """Waits for the next notice."""

    def look(self) -> Leave | None:
        return next(iter(self.notices()), None)


@HOSTS.caught_by("test_a_later_notice_comes_and_is_more_urgent", hangs=True)
class GivesOneNoticeOnly(SmallHost):
    """Called again after each."""

    def look(self) -> Leave | None:
        return None if self.last else super().look()


@HOSTS.caught_by("test_a_later_notice_comes_and_is_more_urgent")
class GivesALessUrgentNoticeLater(SmallHost):
    """A later one may only be more urgent."""

    def is_more_urgent(self, notice: Leave) -> bool:
        return True


@HOSTS.caught_by("test_a_notice_comes")
class SaysNoReason(SmallHost):
    """For the log: `SIGTERM`, `spot interruption at 12:03`."""

    def look(self) -> Leave | None:
        notice = super().look()
        return notice and attrs.evolve(notice, why="")


@HOSTS.caught_by("test_a_notice_comes")
class SaysTheTimeOfDay(SmallHost):
    """Seconds until the machine stops, if the host knows."""

    def look(self) -> Leave | None:
        notice = super().look()
        return notice and attrs.evolve(notice, time_left=time.time() + 120)


@HOSTS.caught_by("test_a_notice_comes")
class SaysMinutes(SmallHost):
    """Seconds until the machine stops, if the host knows."""

    def look(self) -> Leave | None:
        notice = super().look()
        return notice and attrs.evolve(notice, time_left=-2)


@HOSTS.caught_by("test_a_notice_comes")
class DropsTheTimeThatIsLeft(SmallHost):
    """Seconds until the machine stops, if the host knows."""

    def look(self) -> Leave | None:
        notice = super().look()
        return notice and attrs.evolve(notice, time_left=None)


@HOSTS.caught_by("test_a_notice_comes")
class IsAlwaysImmediate(SmallHost):
    """False: claim nothing more and finish the runs. True: hand the runs back now."""

    def look(self) -> Leave | None:
        notice = super().look()
        return notice and attrs.evolve(notice, immediate=True)


@HOSTS.caught_by("test_a_service_that_is_down_gives_no_notice_and_no_error")
class RaisesWhenItsServiceIsDown(SmallHost):
    """Raises nothing."""

    def notices(self) -> list[Leave]:
        return self.service.answer()


@HOSTS.caught_by("test_a_service_that_is_down_gives_no_notice_and_no_error")
class LeavesWhenItsServiceIsDown(SmallHost):
    """Waits for the next notice that the worker must stop."""

    def notices(self) -> list[Leave]:
        try:
            return self.service.answer()
        except OSError as error:
            return [Leave(immediate=False, why=str(error), time_left=1)]


@HOSTS.caught_by("test_a_service_that_is_down_gives_no_notice_and_no_error", hangs=True)
class GivesUpWhenItsServiceWasDown(SmallHost):
    """Cancelling the call loses no notice; nor does an error."""

    def notices(self) -> list[Leave]:
        if self.service.is_down:
            self.service = Service()
        return super().notices()


@HOSTS.caught_by("test_whether_a_notice_has_arrived_is_known_from_then_on")
class BlocksBeforeEachClaim(SmallHost):
    """Never blocks."""

    def should_shutdown_now(self) -> bool:
        time.sleep(0.01)
        return super().should_shutdown_now()


@HOSTS.caught_by("test_a_notice_comes")
class BlocksTheLoopWhileItWaits(SmallHost):
    """Used by one worker, from its event loop."""

    async def pause(self) -> None:
        time.sleep(0.001)
        await asyncio.sleep(0)


@HOSTS.caught_by("test_a_notice_comes", hangs=True)
class NeverGivesTheLoopBack(SmallHost):
    """Used by one worker, from its event loop."""

    async def pause(self) -> None:
        return None


@HOSTS.caught_by("test_it_shuts_down")
class RaisesWhenItShutsDown(SmallHost):
    """Raises nothing."""

    async def shut_down(self) -> None:
        raise PermissionError("shutdown: must be superuser")


@HOSTS.not_caught("it costs processor time alone, and how much is no question of right and wrong")
class PollsWithoutAPause(SmallHost):
    """Waits for the next notice."""

    async def pause(self) -> None:
        await asyncio.sleep(0)


@HOSTS.not_caught("a test cannot see whether a machine was turned off, and by whom")
class StaysOn(SmallHost):
    """Turns the machine off, if this host does that."""

    async def shut_down(self) -> None:
        return None
