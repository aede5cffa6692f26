"""What a worker does by itself about a push that was refused, each of it once."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from taskrunner_docker.registry.login import Login
from taskrunner_docker.registry.logins import Registries
from taskrunner_docker.registry.references import Reference
from taskrunner_docker.registry.refusals import is_missing, is_unauthorized, may_pass


@attrs.define
class Remedies:
    """Those of one push, with all of its attempts."""

    registries: Registries
    say: Callable[[str], None]
    _logged_in_again: bool = False
    _created: bool = False

    async def apply(self, name: Reference, login: Login | None, refusal: str) -> bool:
        """Whether the push is to be tried again at once.

        A login may expire while the layers are pushed, ECR's after twelve hours; the next attempt asks for a new one. A
        repository of ECR is made where the configuration says so.

        Raises: TaskFailed (`push-failed`: AWS does not make the repository), Unavailable.
        """
        if may_pass(refusal):
            return False
        if login and is_unauthorized(refusal) and not self._logged_in_again:
            self._logged_in_again = True
            self.say(f"{name.registry} wants a new login: {refusal}")
            return True
        if is_missing(refusal) and not self._created and await self.registries.create_repository(name):
            self._created = True
            self.say(f"made the repository {name.path} in {name.registry}")
            return True
        return False
