"""A pull from the mirrors of a registry, and from the registry itself when none of them has the image.

Docker names an image after the place that it was pulled from. So the mirror is asked for the digest that the tag has
there, the image is pulled by that digest, which gives it no tag, and gets its own name afterwards.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

import attrs

from taskrunner.errors import RunLost, TaskFailed, TaskFailedInternally, Unavailable
from taskrunner_docker.api.client import DockerClient
from taskrunner_docker.api.docker_errors import DockerError, DockerUnavailable
from taskrunner_docker.cleanup.push_lock import PushLock
from taskrunner_docker.cleanup.removal import remove_tag
from taskrunner_docker.images.store import ImageStore
from taskrunner_docker.registry.login import auth_header
from taskrunner_docker.registry.references import DOCKER_HUB, Reference
from taskrunner_docker.registry.transfer import Transfers

_DIGEST_LIMIT = 30.0
"""Seconds for a mirror to name a digest. A mirror is there to save time."""
MIRROR_IDLE = 60.0
"""Seconds without a report before a mirror is given up: less than for a registry, since there is another place."""


@attrs.frozen
class MirroredPull:
    """Pulls for one run."""

    client: DockerClient
    transfers: Transfers
    store: ImageStore
    lock: PushLock
    mirrors: Mapping[str, Sequence[str]]

    async def pull_patiently(self, image: str) -> None:
        """As `pull`, and tries all places again when the registry does not answer, has a fault or wants fewer requests.

        A push goes on after a restart of Docker, which has kept what was built. A pull has nothing to lose: its run is
        handed back at once, and no worker takes it until Docker answers.
        """
        await self.transfers.retry(partial(self.pull, image), final=(RunLost, DockerUnavailable))

    async def pull(self, image: str) -> None:
        """Raises: TaskFailed (`pull-failed`, `login-failed`), Unavailable, TaskFailedInternally."""
        name = Reference.parse(image)
        for mirror in self.mirrors.get(name.registry, ()):
            try:
                return await self._pull_from(mirror, name)
            except RunLost:
                raise
            except (TaskFailed, TaskFailedInternally, Unavailable) as error:
                self.transfers.say(f"the mirror {mirror} does not give {image}: {error}; trying the next place")
        async with self.store.bringing(name.local):
            await self.transfers.pull(image)
        return None

    async def _pull_from(self, mirror: str, name: Reference) -> None:
        place = at_mirror(mirror, name)
        pinned = attrs.evolve(place, tag="", digest=name.digest or await self._digest_at(place))
        async with self.store.bringing(name.local, pinned.local):
            had_it = await self.store.inspect(pinned.local) is not None
            await self.transfers.pull(str(pinned), MIRROR_IDLE)
            if not name.digest:
                await self._rename(pinned, name, keep=had_it)

    async def _digest_at(self, place: Reference) -> str:
        """What the mirror's tag stands for. Docker asks it, with the login of the mirror."""
        login = await self.transfers.registries.find(place.registry)
        try:
            async with asyncio.timeout(_DIGEST_LIMIT):
                path = f"/distribution/{place}/json"
                async with await self.client.stream("GET", path, headers=auth_header(login)) as answer:
                    return str(json.loads(await answer.reader.read())["Descriptor"]["digest"])
        except TimeoutError:
            raise Unavailable(f"no answer within {_DIGEST_LIMIT:g} seconds") from None
        except DockerError as error:
            raise self.transfers.registries.explain("pull", str(place), str(error)) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unavailable(f"Docker's answer about {place} is none: {type(error).__name__}") from None

    async def _rename(self, pinned: Reference, name: Reference, *, keep: bool) -> None:
        """Gives the image its own name in place of the mirror's."""
        async with self.lock.held(str(name)):
            tagging = self.client.call(self.client.api.tag, pinned.local, name.name, name.tag or "latest", force=True)
            try:
                await tagging
            except DockerError as error:
                raise TaskFailedInternally(f"Docker cannot give {name} its name: {error}") from None
        if not keep:
            with suppress(TaskFailedInternally):  # the image is there and has its name
                await remove_tag(self.client, pinned.local)


def at_mirror(mirror: str, name: Reference) -> Reference:
    """The name that an image has at a mirror: `mirror.example:5000/hub` has `library/app` as `hub/library/app`."""
    official = name.registry == DOCKER_HUB and "/" not in name.path
    path = f"library/{name.path}" if official else name.path
    host, _, prefix = mirror.partition("/")
    return attrs.evolve(name, registry=host, path=f"{prefix}/{path}" if prefix else path)
