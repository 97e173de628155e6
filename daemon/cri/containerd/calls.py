"""How containerd's own services are called."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeVar

from google.protobuf.message import Message
from grpclib.client import UnaryUnaryMethod

from daemon.cri.channel import Channel

NAMESPACE: Final = "k8s.io"
"""containerd's namespace for everything that came through CRI."""
METADATA: Final[Mapping[str, str]] = MappingProxyType({"containerd-namespace": NAMESPACE})
TIMEOUT: Final = 10.0
"""Seconds. Calls take milliseconds, unless containerd's database waits for a disk that is busy."""

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)


async def ask(channel: Channel, method: UnaryUnaryMethod[Request, Reply], request: Request) -> Reply:
    """Call *method* in the namespace of CRI. Raises CriError."""
    return await channel.call(method, request, timeout=TIMEOUT, metadata=METADATA)
