"""One gRPC connection to a runtime's unix socket: deadlines, typed errors, latency seen by an observer."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from time import monotonic
from typing import Any, Final, TypeVar, cast

import grpclib.client
from google.protobuf.message import DecodeError, Message
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError
from grpclib.protocol import H2Protocol
from h2.exceptions import H2Error

from daemon.cri.errors import CriError, RuntimeDownError, TimedOutError
from daemon.cri.failures import classify_call

Observer = Callable[[str, str, float], None]
"""Told of each call that ended: method, name of the gRPC status, seconds."""

Request = TypeVar("Request", bound=Message)
Reply = TypeVar("Reply", bound=Message)
Stub = TypeVar("Stub")
Result = TypeVar("Result")

_WINDOW: Final = 16 * 2**20
"""Bytes a runtime may send ahead of us: the list of some thousand containers in one go."""
_PATIENT: Final = frozenset({"PullImage", "StopContainer", "ExecSync"})
"""Calls that take as long as what they do: their silence says nothing about the runtime."""
_SLOW: Final = 3.0
"""Seconds after which any other call makes one wonder."""

_FAILURES: Final = (
    GRPCError,
    TimeoutError,
    # The rest: the connection could not be made, or broke.
    OSError,
    StreamTerminatedError,
    ProtocolError,
    H2Error,
    DecodeError,
    # grpclib's own, when a connection is lost between two frames of one reply: it reads less than announced,
    # or acknowledges on a connection whose transport it has already deleted.
    AssertionError,
    AttributeError,
)


class _Handler(grpclib.client.Handler):
    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost

    def close(self) -> None:
        super().close()
        self._on_lost()


class _Wire(grpclib.client.Channel):
    """grpclib's channel, telling of its end: else it is found out at the next call, much later at rest."""

    def __init__(self, on_lost: Callable[[], None], **options: Any) -> None:
        super().__init__(**options)
        self._on_lost = on_lost

    def _protocol_factory(self) -> H2Protocol:
        return H2Protocol(_Handler(self._on_lost), self._config, self._h2_config)


class Channel:
    """Calls over one unix socket. Connects when first used, and again after the connection was lost."""

    def __init__(
        self, path: str, *, observe: Observer | None = None, on_doubt: Callable[[], None] = lambda: None
    ) -> None:
        """*on_doubt* is called when a question is not answered for some seconds, or the connection ends."""
        self.path = path
        self._observe = observe
        self._on_doubt = on_doubt
        self._wire: grpclib.client.Channel | None = None

    def stub(self, kind: Callable[[grpclib.client.Channel], Stub]) -> Stub:
        """Make the stub of one service, whose methods are then given to ``call``. Does no I/O."""
        # A stub only ever asks its channel for `request`, and this class has it.
        return kind(cast(grpclib.client.Channel, self))

    def request(self, *args: Any, **options: Any) -> grpclib.client.Stream[Any, Any]:
        """Open the stream of one call; for stubs only."""
        if self._wire is None:  # Not in the constructor: it needs the running loop.
            windows = Configuration(http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW)
            self._wire = _Wire(self._on_doubt, path=self.path, config=windows)
        return self._wire.request(*args, **options)

    async def call(
        self,
        method: grpclib.client.UnaryUnaryMethod[Request, Reply],
        request: Request,
        *,
        timeout: float,
        metadata: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send *request* and return the reply within *timeout* seconds. Raises CriError.

        A cancel is passed on: the runtime sees the stream reset at once.
        """
        return await self._ended(method.name, method(request, timeout=timeout, metadata=_pairs(metadata)))

    async def collect(
        self,
        method: grpclib.client.UnaryStreamMethod[Request, Reply],
        request: Request,
        *,
        timeout: float,
        metadata: Mapping[str, str] | None = None,
    ) -> list[Reply]:
        """Send *request* and return all replies of the stream. Like ``call`` otherwise."""
        return await self._ended(method.name, method(request, timeout=timeout, metadata=_pairs(metadata)))

    async def __aenter__(self) -> "Channel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way end with RuntimeDownError. A later call connects again."""
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    async def _ended(self, path: str, call: Coroutine[Any, Any, Result]) -> Result:
        name, began, code = method_name(path), monotonic(), "CANCELLED"
        patience = None if name in _PATIENT else asyncio.get_running_loop().call_later(_SLOW, self._on_doubt)
        try:
            result = await _apart(call)
        except _FAILURES as failure:
            error = _typed(name, failure)
            code = error.code
            if isinstance(error, RuntimeDownError) or (patience and isinstance(error, TimedOutError)):
                self._on_doubt()
            # Not `from failure`: the chain would carry the runtime's text unredacted into logs.
            raise error from None
        else:
            code = "OK"
            return result
        finally:
            if patience is not None:
                patience.cancel()
            if self._observe is not None:
                self._observe(name, code, monotonic() - began)


def method_name(path: str) -> str:
    """Short name of a method: ``PullImage`` for CRI's, ``Content.ListStatuses`` for a runtime's own."""
    service, _, method = path.strip("/").rpartition("/")
    return method if service.startswith("runtime.") else f"{service.rpartition('.')[2]}.{method}"


async def _apart(call: Coroutine[Any, Any, Result]) -> Result:
    """Await *call* in a task of its own.

    grpclib ends a call that timed out or lost its connection by cancelling the task it runs in and never
    takes that back (Task.uncancel). In the caller's task this would confuse its TaskGroup.
    """
    me = asyncio.current_task()
    cancels = me.cancelling() if me is not None else 0
    try:
        return await asyncio.create_task(call)
    except _FAILURES:
        if me is not None and me.cancelling() > cancels:
            raise asyncio.CancelledError from None  # The call failed in the moment we were cancelled.
        raise


def _typed(method: str, failure: BaseException) -> CriError:
    """The error for a failed call. Only what the runtime said itself is searched for the cause."""
    match failure:
        case GRPCError():
            code, text = failure.status.name, failure.message or ""
            return classify_call(method, code, text)(method, code, text)
        case TimeoutError():
            return TimedOutError(method, Status.DEADLINE_EXCEEDED.name, "no answer before the deadline")
        case _:
            text = str(failure) or type(failure).__name__
            return RuntimeDownError(method, Status.UNAVAILABLE.name, text)


def _pairs(metadata: Mapping[str, str] | None) -> Any:
    return dict(metadata) if metadata else None
