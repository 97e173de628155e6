"""A container runtime that speaks CRI on a real unix socket, and fails when it is told to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream

from daemon.cri.v1 import runtime_pb2 as pb
from tests.fakes.holdings import FakeHoldings

DEADLINE = 10.0


@dataclass(slots=True, eq=False)
class Fault:
    """What goes wrong with calls of one method, and what happened to them."""

    code: Status | None = None
    text: str = ""
    times: int | None = None
    """How many calls it meets; None is all."""
    hanging: bool = False
    """Keep calls until ``released``, then answer them (or fail, when there is a code)."""
    met: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a call that hung here was given up by its caller."""

    async def meet(self) -> None:
        self.met.set()
        try:
            if self.hanging:
                await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.code is not None:
            raise GRPCError(self.code, self.text)


class _Server(Server):
    """A server whose connections can be cut, as when its process dies."""

    connections: list[H2Protocol]

    def _protocol_factory(self) -> H2Protocol:
        protocol = super()._protocol_factory()
        self.connections.append(protocol)
        return protocol


@dataclass(slots=True, eq=False)
class FakeRuntime:
    """Serves a FakeHoldings. The same path may be started, stopped and started again."""

    path: Path
    node: FakeHoldings = field(default_factory=FakeHoldings)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Method and request of every call, in order."""
    beside: list[Any] = field(default_factory=list)
    """Further services on the same socket."""
    _faults: dict[str, Fault] = field(default_factory=dict)
    _server: _Server | None = None

    def fail(self, method: str, code: Status, text: str = "", *, times: int | None = None) -> Fault:
        """Have calls of *method* answered with an error."""
        return self._faults.setdefault(method, Fault(code, text, times))

    def hang(self, method: str, *, times: int | None = None) -> Fault:
        """Have calls of *method* hang."""
        return self._faults.setdefault(method, Fault(times=times, hanging=True))

    def heal(self) -> None:
        """Forget all faults and answer what hangs."""
        for fault in self._faults.values():
            fault.released.set()
        self._faults.clear()

    def requests(self, method: str) -> list[Any]:
        """The requests of the calls of *method*."""
        return [request for name, request in self.calls if name == method]

    async def start(self) -> None:
        """Serve on the path."""
        self._server = _Server([self, *self.beside])
        self._server.connections = []
        self.path.unlink(missing_ok=True)
        await self._server.start(path=str(self.path))

    async def stop(self) -> None:
        """Vanish as a killed process does: connections are cut, the socket's file stays. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for protocol in server.connections:
            with contextlib.suppress(AttributeError):  # grpclib deletes the transport of a closed connection
                protocol.connection._transport.abort()
        async with asyncio.timeout(DEADLINE):
            await server.wait_closed()

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"/{service.full_name}/{method.name}": Handler(
                partial(self._serve, method.name),
                Cardinality.UNARY_UNARY,
                GetMessageClass(method.input_type),
                GetMessageClass(method.output_type),
            )
            for service in pb.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }

    async def _serve(self, method: str, stream: Stream[Message, Message]) -> None:
        request = await stream.recv_message()
        self.calls.append((method, request))
        fault = self._faults.get(method)
        if fault is not None and fault.times != 0:
            fault.times = None if fault.times is None else fault.times - 1
            await fault.meet()
        await stream.send_message(getattr(self.node, method)(request))


@contextlib.asynccontextmanager
async def serving(path: Path, node: FakeHoldings | None = None) -> AsyncIterator[FakeRuntime]:
    """A fake runtime that listens on *path* until the end of the block."""
    runtime = FakeRuntime(path, node or FakeHoldings())
    await runtime.start()
    try:
        yield runtime
    finally:
        await runtime.stop()
