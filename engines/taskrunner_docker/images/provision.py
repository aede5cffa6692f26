"""An image for a run, by its pull policy, protected until its container is there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import attrs

from taskrunner.errors import RunLost, TaskFailed, TaskFailedInternally, Unavailable
from taskrunner_docker.cleanup.push_lock import PushLock
from taskrunner_docker.images.housekeeping import Housekeeping
from taskrunner_docker.images.leased_image import LeasedImage
from taskrunner_docker.images.mirrored_pull import MirroredPull, at_mirror
from taskrunner_docker.images.policy import policies
from taskrunner_docker.images.shared_pulls import Follower, Report, Say, SharedPulls
from taskrunner_docker.images.store import ImageStore
from taskrunner_docker.options import DockerOptions, PullPolicy
from taskrunner_docker.registry.references import Reference
from taskrunner_docker.registry.transfer import Transfers

_ATTEMPTS = 3
"""Times that an image is looked up which another program removes meanwhile."""


@attrs.frozen
class ImageProvision:
    """The images for one run."""

    transfers: Transfers
    options: DockerOptions
    housekeeping: Housekeeping
    pulls: SharedPulls
    lock: PushLock

    @property
    def store(self) -> ImageStore:
        """The images that Docker has."""
        return self.housekeeping.store

    async def provide(self, image: str, asked: Sequence[PullPolicy] = ()) -> LeasedImage:
        """The image of this name, by the first policy that has it. The caller releases it. A registry that does not
        answer, has a fault or wants fewer requests is tried again for the last policy: before it, there is another way.

        Raises: TaskFailed (`pull-failed`, `login-failed`, `image-missing`), MalformedPayload (a policy that is not
        allowed), Unavailable, TaskFailedInternally.
        """
        order = policies(asked, self.options)
        name = Reference.parse(image)
        await self.lock.wait(image)
        for policy, following in pairwise(order):
            try:
                return await self._by(policy, name, patient=False)
            except RunLost:
                raise
            except (TaskFailed, Unavailable) as error:
                self.transfers.say(f"pull policy {policy}: {error}; trying {following}")
        return await self._by(order[-1], name, patient=True)

    async def _by(self, policy: PullPolicy, name: Reference, *, patient: bool) -> LeasedImage:
        if policy != "always" and (found := await self._present(name)):
            return found
        if policy == "never":
            raise TaskFailed("image-missing", f"Docker does not have {name}, and the pull policy is `never`")
        await self._pull(name, patient=patient)
        if found := await self._present(name):
            self.housekeeping.schedule()
            return found
        raise TaskFailedInternally(f"{name} was pulled, and is gone again: does another program remove images?")

    async def _pull(self, name: Reference, *, patient: bool) -> None:
        transfers = self.transfers

        async def begin(say: Say, progress: Report) -> None:
            shared = attrs.evolve(transfers, say=say, progress=progress)
            places = MirroredPull(transfers.client, shared, self.store, self.lock, self.options.mirrors)
            await (places.pull_patiently if patient else places.pull)(str(name))

        follower = Follower(transfers.say, transfers.progress)
        await self.pulls.pull(str(name), begin, follower, patient=patient)

    async def _present(self, name: Reference) -> LeasedImage | None:
        """The image, when Docker has it. It is looked at again under the lease: it may have been removed before."""
        for _ in range(_ATTEMPTS):
            found = await self._look_up(name)
            if found is None:
                return None
            leased = LeasedImage(found, _digest_of(found, name), await self.store.lease(str(found["Id"])))
            try:
                is_there = await self.store.inspect(leased.id) is not None
            except BaseException:
                leased.release()
                raise
            if is_there:
                return leased
            leased.release()
        return None

    async def _look_up(self, name: Reference) -> dict[str, Any] | None:
        """An image that is named by its digest may have come from a mirror, and has that name then."""
        mirrors = self.options.mirrors.get(name.registry, ()) if name.digest else ()
        for place in (name, *(at_mirror(mirror, name) for mirror in mirrors)):
            if found := await self.store.inspect(place.local):
                return found
        return None


def _digest_of(image: dict[str, Any], name: Reference) -> str:
    if name.digest:
        return name.digest
    prefix = f"{name.name}@"
    return next((str(each)[len(prefix) :] for each in image.get("RepoDigests") or () if each.startswith(prefix)), "")
