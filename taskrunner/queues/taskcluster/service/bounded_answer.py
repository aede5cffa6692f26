"""Answers of a limited size: the Taskcluster client reads each one whole, however long a server makes it."""

from __future__ import annotations

import aiohttp

MAX_ANSWER = 32 << 20
"""Bytes of one answer, after decompression: 32 tasks of 1 MiB each, in one answer of `claimWork`."""


class AnswerTooLarge(aiohttp.ClientPayloadError):
    """More than MAX_ANSWER."""


class BoundedResponse(aiohttp.ClientResponse):
    """Ends the connection at the first byte that is too much."""

    async def read(self) -> bytes:
        if self._body is None:
            body = bytearray()
            async for piece in self.content.iter_any():
                body += piece
                if len(body) > MAX_ANSWER:
                    self.close()
                    raise AnswerTooLarge(f"the answer has more than {MAX_ANSWER >> 20} MiB")
            self._body = bytes(body)
        return await super().read()
