"""Messages of gRPC without generated code: their classes, made of compiled descriptors, and reading one of a call.

The classes of a queue have a pool of their own: a program that runs a worker may have classes of the same protocol, of
its own, in protobuf's default pool. Descriptors work with every version of protobuf; generated code works with two of
them.
"""

from __future__ import annotations

import asyncio
from importlib.resources import files
from typing import Any, TypeAlias

import grpc.aio
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from taskrunner.errors import Complaint, MalformedPayload

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

REQUEST_LIMIT = 30.0
"""Seconds from the beginning of a call until its request has come, which is a megabyte at the most."""


def load_protocol(package: str) -> DescriptorPool:
    """The descriptors that `script/protocols.py` has compiled in the folder `protocol` of a package."""
    pool = DescriptorPool()
    compiled = (files(package) / "protocol" / "protocol.binpb").read_bytes()
    for file in FileDescriptorSet.FromString(compiled).file:
        pool.Add(file)
    return pool


def message_class(pool: DescriptorPool, name: str) -> Any:
    """The class of a message, by its full name."""
    return GetMessageClass(pool.FindMessageTypeByName(name))


async def read_request(context: Context, kind: Any) -> Any:
    """The request of a call, a message of the class `kind`. For methods that are served as streams: on the wire these
    are the same as calls with one request, and gRPC would wait for that one without a limit.

    Raises: MalformedPayload.
    """
    name = kind.DESCRIPTOR.name
    try:
        async with asyncio.timeout(REQUEST_LIMIT):
            data = await context.read()
        if data is grpc.aio.EOF:
            raise MalformedPayload(Complaint("", "the call has no message", f"send a {name}"))
        return kind.FromString(data)
    except TimeoutError:
        raise MalformedPayload(Complaint("", f"the call has sent no message for {REQUEST_LIMIT:g} s")) from None
    except DecodeError as error:
        raise MalformedPayload(Complaint("", f"the message is no {name}: {error}")) from None
