"""The gRPC services behind a runtime's unix socket: deadlines, typed errors, latency seen by an observer."""

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache
from time import monotonic
from typing import Final, TypeVar, cast

import grpclib.client
from google.protobuf.message import DecodeError, Message

from daemon.cri.connection import Connection
from daemon.cri.errors import CriError, RuntimeDownError, TimedOutError
from daemon.cri.exchanges import LostCallError, RefusedCallError
from daemon.cri.failures import classify_call
from daemon.cri.http2 import Metadata

Observer = Callable[[str, str, float], None]
"""Told of each call that ended: method, name of the gRPC status, seconds."""

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
Stub = TypeVar("Stub")
Method = grpclib.client.ServiceMethod[Request, Reply]
"""What a stub knows of a method: its path and the type of its replies."""

_PATIENT: Final = frozenset({"PullImage", "StopContainer", "ExecSync"})
"""Calls that take as long as what they do: their silence says nothing about the runtime."""
_SLOW: Final = 3.0
"""Seconds after which any other call makes one wonder."""
_FAILURES: Final = (RefusedCallError, LostCallError, TimeoutError, OSError, DecodeError)


class Channel:
    """Calls over one unix socket. Connects when first used, and again after the connection was lost."""

    def __init__(
        self, path: str, *, observe: Observer | None = None, on_doubt: Callable[[], None] = lambda: None
    ) -> None:
        """*on_doubt* is called when a question is not answered for some seconds, or the connection ends."""
        self.path = path
        self._observe = observe
        self._on_doubt = on_doubt
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    def stub(self, kind: Callable[[grpclib.client.Channel], Stub]) -> Stub:
        """Make the stub of one service, whose methods are then given to ``call``. Does no I/O."""
        # A stub only hands its channel on to its methods, and those are asked for what they know alone.
        return kind(cast(grpclib.client.Channel, self))

    async def call(
        self,
        method: Method[Request, Reply],
        request: Request,
        *,
        timeout: float,
        metadata: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send *request* and return the reply within *timeout* seconds. Raises CriError.

        A cancel is passed on: the runtime sees the stream reset at once.
        """
        replies = await self.collect(method, request, timeout=timeout, metadata=metadata)
        if len(replies) != 1:
            name = method_name(method.name)
            raise RuntimeDownError(name, "UNAVAILABLE", f"{len(replies)} answers to one question")
        return replies[0]

    async def collect(
        self,
        method: Method[Request, Reply],
        request: Request,
        *,
        timeout: float,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Reply]:
        """Send *request* and return all replies of the stream. Like ``call`` otherwise."""
        name, began, code = method_name(method.name), monotonic(), "CANCELLED"
        patience = None if name in _PATIENT else asyncio.get_running_loop().call_later(_SLOW, self._on_doubt)
        try:
            replies = await self._answers(
                method, request, timeout, tuple(metadata.items()) if metadata else ()
            )
        except _FAILURES as failure:
            error = _typed(name, failure)
            code = error.code
            if isinstance(error, RuntimeDownError) or (patience and isinstance(error, TimedOutError)):
                self._on_doubt()
            # Not `from failure`: the chain would carry the runtime's text unredacted into logs.
            raise error from None
        else:
            code = "OK"
            return replies
        finally:
            if patience is not None:
                patience.cancel()
            if self._observe is not None:
                self._observe(name, code, monotonic() - began)

    async def _answers(
        self, method: Method[Request, Reply], request: Request, timeout: float, metadata: Metadata
    ) -> list[Reply]:
        async with asyncio.timeout(timeout):
            connection = await self._connected()
            answers = await connection.ask(method.name, request.SerializeToString(), timeout, metadata)
        return [method.reply_type.FromString(answer) for answer in answers]

    async def __aenter__(self) -> "Channel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way end with RuntimeDownError. A later call connects again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def _connected(self) -> Connection:
        if self._connection is not None and self._connection.usable:
            return self._connection
        async with self._connecting:
            if self._connection is None or not self._connection.usable:
                loop = asyncio.get_running_loop()
                _, self._connection = await loop.create_unix_connection(
                    lambda: Connection(self._on_doubt), self.path
                )
            return self._connection


@lru_cache(maxsize=128)
def method_name(path: str) -> str:
    """Short name of a method: ``PullImage`` for CRI's, ``Content.ListStatuses`` for a runtime's own."""
    service, _, method = path.strip("/").rpartition("/")
    return method if service.startswith("runtime.") else f"{service.rpartition('.')[2]}.{method}"


def _typed(method: str, failure: BaseException) -> CriError:
    """The error for a failed call. Only what the runtime said itself is searched for the cause."""
    match failure:
        case RefusedCallError(code=code, text=text):
            return classify_call(method, code, text)(method, code, text)
        case TimeoutError():
            return TimedOutError(method, "DEADLINE_EXCEEDED", "no answer before the deadline")
        case _:
            return RuntimeDownError(method, "UNAVAILABLE", str(failure) or type(failure).__name__)
