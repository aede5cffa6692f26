"""What every port has in common at which a worker takes work: address, TLS, tokens and limits.

A queue that listens has the field `listen: ListenOptions = ListenOptions()` in its options, adds `listen_complaints` to
its `check_options`, and calls `open_listener` in its `open`. `listening.grpc_port` makes a gRPC server of the result,
and `listening.grpc_messages` reads its messages; both need grpcio and protobuf, and are imported by name.
"""

from taskrunner.queues.listening.address import Address as Address
from taskrunner.queues.listening.address import listening_address as listening_address
from taskrunner.queues.listening.listener import Listener as Listener
from taskrunner.queues.listening.listener import open_listener as open_listener
from taskrunner.queues.listening.options import ListenOptions as ListenOptions
from taskrunner.queues.listening.options import listen_complaints as listen_complaints
from taskrunner.queues.listening.tls import TlsIdentity as TlsIdentity
from taskrunner.queues.listening.tokens import BearerTokens as BearerTokens

__all__ = [
    "Address",
    "BearerTokens",
    "ListenOptions",
    "Listener",
    "TlsIdentity",
    "listen_complaints",
    "listening_address",
    "open_listener",
]
