"""The worker's side of the door: connections of which none can hold up the worker, or stay for ever.

All of it runs in the worker's event loop, without a thread. A client that sends garbage, nothing, too much, or does not
read its answer gets an answer that names the fault, as far as it reads, and is disconnected. The door stands open from
before the worker boots until it has stopped; where no socket can be made, the worker goes on without.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs

from taskrunner.worker.door.address import BACKLOG, listen
from taskrunner.worker.door.command_session import ClientGone
from taskrunner.worker.door.frames import Link
from taskrunner.worker.door.peer import peer_name
from taskrunner.worker.door.protocol import MAX_LINE, DoorError, encode, parse, refusal
from taskrunner.worker.door.verbs import DoorRequest, Operable, StreamRequest, request_of

MAX_CONNECTIONS = 16
"""At a time, beside those that an `exec` or `attach` has taken over. An operator needs one."""

MAX_EXECS = 32
"""At a time. Each may hold about half a megabyte, and a few descriptors."""

REQUEST_LIMIT = 10.0
"""Seconds that a client may take to send its request, the first or the next one."""

ANSWER_LIMIT = 10.0
"""Seconds that a client may take to read its answer."""

LAST_FRAMES = 2.0
"""Seconds for the clients of commands that have just ended to get the rest of the output, and the exit status."""

CLOSE_LIMIT = 5.0
"""Seconds for the connections to end once they are cancelled. They wait for nothing."""


@attrs.define(eq=False)
class Door:
    """Answers requests about one worker. Used from its event loop."""

    worker: Operable
    warn: Callable[[str], None]
    request_limit: float = REQUEST_LIMIT
    answer_limit: float = ANSWER_LIMIT
    last_frames: float = LAST_FRAMES
    _connections: set[asyncio.Task[None]] = attrs.field(init=False, factory=set)
    _execs: set[asyncio.Task[None]] = attrs.field(init=False, factory=set)
    """Connections that are no more answered by lines."""

    @asynccontextmanager
    async def open(self, path: Path) -> AsyncIterator[None]:
        """Makes the socket, and removes it at the end of the block. Without one, that is a warning."""
        try:
            server = await asyncio.start_unix_server(
                self._connected, sock=listen(path), backlog=BACKLOG, limit=MAX_LINE
            )
        except OSError as error:
            self.warn(f"{path} cannot be made ({error.strerror or error}): this worker cannot be asked or paused")
            yield
            return
        try:
            yield
        finally:
            with suppress(OSError):
                os.unlink(path)  # noqa: PTH108  a pathlib call here would be refused as blocking, this is the same
            server.close()
            await self._end_connections()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Called by asyncio for each client."""
        connection = asyncio.create_task(self._serve(reader, writer), name="a connection to the door")
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)
        connection.add_done_callback(self._execs.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self._admit()
            while line := await self._line(reader):
                request = self._request(line)
                if isinstance(request, StreamRequest):
                    await self._exec(request, Link(reader, writer))
                    break
                await self._send(writer, self._answer(request))
        except DoorError as error:
            with suppress(OSError):
                await self._send(writer, refusal(error))
        except (OSError, ClientGone):
            pass  # the client has gone, or does not read
        finally:
            _close(writer)

    def _admit(self) -> None:
        if len(self._connections) > MAX_CONNECTIONS:
            raise DoorError("busy", f"this worker has {MAX_CONNECTIONS} connections already: try again later")

    async def _line(self, reader: asyncio.StreamReader) -> bytes:
        """The next request; empty at the end of the connection. Raises DoorError, and OSError."""
        try:
            async with asyncio.timeout(self.request_limit):
                line = await reader.readuntil(b"\n")
        except TimeoutError:
            raise DoorError("too-slow", f"no whole request came within {self.request_limit:g} s") from None
        except asyncio.LimitOverrunError:
            raise DoorError("too-long", f"a request may have {MAX_LINE:,} bytes") from None
        except asyncio.IncompleteReadError as end:
            if end.partial:
                raise DoorError("malformed", "the request has no line feed at its end") from None
            return b""
        await asyncio.sleep(0)  # many requests in one packet are read without waiting: others come between
        return line

    def _request(self, line: bytes) -> DoorRequest | StreamRequest | DoorError:
        try:
            return request_of(parse(line))
        except DoorError as error:
            return error

    def _answer(self, request: DoorRequest | DoorError) -> bytes:
        if isinstance(request, DoorError):
            return refusal(request)
        try:
            request.apply(self.worker)
            return encode(ok=True, worker=self.worker.status())
        except Exception as error:  # noqa: BLE001  a bug in here must not stop the worker
            return refusal(self._bug(error))

    async def _exec(self, request: StreamRequest, link: Link) -> None:
        """Serves a command to its end. Raises DoorError, ClientGone, OSError."""
        if len(self._execs) >= MAX_EXECS:
            raise DoorError("busy", f"this worker has {MAX_EXECS} execs already: try again later")
        connection = asyncio.current_task()
        if connection in self._connections:
            self._connections.remove(connection)
            self._execs.add(connection)
        try:
            await request.serve(self.worker, link, peer_name(link.writer.get_extra_info("socket")))
        except (DoorError, ClientGone, OSError):
            raise
        except Exception as error:
            raise self._bug(error) from error

    def _bug(self, error: Exception) -> DoorError:
        self.warn(f"a request could not be answered: {type(error).__name__}: {error}")
        return DoorError("internal-error", "the worker has failed to answer; its own messages say why")

    async def _send(self, writer: asyncio.StreamWriter, answer: bytes) -> None:
        """Raises OSError when the client does not read."""
        writer.write(answer)
        async with asyncio.timeout(self.answer_limit):
            await writer.drain()

    async def _end_connections(self) -> None:
        if self._execs:
            await asyncio.wait(self._execs, timeout=self.last_frames)
        connections = self._connections | self._execs
        for connection in connections:
            connection.cancel()
        if connections:
            await asyncio.wait(connections, timeout=CLOSE_LIMIT)


def _close(writer: asyncio.StreamWriter) -> None:
    """Closes a connection. What is not read by then is dropped: closing in order would wait for the client."""
    if writer.transport.get_write_buffer_size():
        writer.transport.abort()
    else:
        writer.close()
