"""One HTTP/2 connection to a gRPC server: many calls side by side, each with one request and its replies.

A general gRPC library spends more on a call than containerd does. This one does for a call what it takes:
headers that are ready, one write, one future.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from daemon.cri import http2
from daemon.cri.exchanges import Exchange, LostCallError, grpc_timeout
from daemon.cri.http2 import Frame, Http2Error, Metadata

_WINDOW: Final = 16 * 2**20
"""Bytes that a runtime may send ahead of us: the list of some thousand containers in one go."""
_LARGEST_BLOCK: Final = 2**17
"""Bytes of headers that arrive in pieces."""
_LAST_STREAM: Final = 2**31 - 1


class Connection(asyncio.Protocol):
    """One connection, for the protocol factory of an event loop. It ends for good when it is lost."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._frames = http2.FrameReader()
        self._headers = http2.HeaderReader()
        self._exchanges: dict[int, Exchange] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._next_stream = 1
        self._unread = 0
        self._window = self._first_window = http2.FIRST_WINDOW
        self._largest_frame = http2.FIRST_FRAME
        self._limit = _LAST_STREAM
        """Calls that the server takes side by side."""
        self._block: tuple[Frame, bytearray] | None = None
        """Headers of which more is to come."""
        self._leaving = False
        self._handlers: Mapping[int, Callable[[Frame], None]] = {
            http2.DATA: self._on_data,
            http2.HEADERS: self._on_headers,
            http2.CONTINUATION: self._on_continuation,
            http2.RST_STREAM: self._on_reset,
            http2.SETTINGS: self._on_settings,
            http2.PING: self._on_ping,
            http2.GOAWAY: self._on_goaway,
            http2.WINDOW_UPDATE: self._on_window,
        }

    @property
    def usable(self) -> bool:
        """Whether calls can be made."""
        return self._transport is not None and not self._leaving and self._next_stream <= _LAST_STREAM

    async def ask(self, path: str, body: bytes, timeout: float, metadata: Metadata) -> list[bytes]:
        """Send *body* and return the replies. The caller keeps the *timeout* (seconds); the server learns it.

        Raises LostCallError or RefusedCallError. A cancel resets the call in the server.
        """
        await self._turn()
        stream, exchange = self._begin(path, body, timeout, metadata)
        try:
            await exchange.done
        finally:
            del self._exchanges[stream]
            if not exchange.ended:
                self._write(http2.frame(http2.RST_STREAM, 0, stream, http2.CANCEL.to_bytes(4)))
            self._next_turn()
            self._leave()
        return exchange.messages()

    def close(self) -> None:
        """End the connection; calls under way end with LostCallError."""
        self._end("the connection was closed")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what we allow: no table of headers, so that the same block of them means the same each time."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        allowed = {
            http2.HEADER_TABLE_SIZE: 0,
            http2.ENABLE_PUSH: 0,
            http2.INITIAL_WINDOW_SIZE: _WINDOW,
        }
        more = http2.window_update(0, _WINDOW - http2.FIRST_WINDOW)
        self._write(http2.PREFACE + http2.settings(allowed) + more)

    def data_received(self, data: bytes) -> None:
        """Take in what the server sent."""
        try:
            for frame in self._frames.feed(data):
                if self._block is not None and frame.kind != http2.CONTINUATION:
                    raise Http2Error("headers are cut off")  # noqa: TRY301 - ends as all breaches do
                handler = self._handlers.get(frame.kind)
                if handler is not None:  # else a kind that we need not know
                    handler(frame)
        except Http2Error as error:
            self._end(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """End all calls."""
        self._end(str(exc) if exc is not None else "the connection was lost")
        self._on_lost()

    async def _turn(self) -> None:
        """Wait until the server takes one more call. Raises LostCallError."""
        while self.usable and len(self._exchanges) >= self._limit:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._next_turn()  # It may have been ours already.
                raise
        if not self.usable:
            raise LostCallError("the connection was lost")

    def _next_turn(self) -> None:
        while self._waiting and len(self._exchanges) < self._limit:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _begin(self, path: str, body: bytes, timeout: float, metadata: Metadata) -> tuple[int, Exchange]:
        stream = self._next_stream
        self._next_stream += 2
        exchange = self._exchanges[stream] = Exchange(body, self._first_window)
        block = http2.request_headers(path, metadata) + http2.header("grpc-timeout", grpc_timeout(timeout))
        head = http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block)
        self._write(head + self._sendable(stream, exchange))
        self._next_turn()  # the server may take several more by now
        return stream, exchange

    def _sendable(self, stream: int, exchange: Exchange) -> bytes:
        """As much of the request as the server takes now."""
        frames = []
        while exchange.body and (size := min(self._window, exchange.window, self._largest_frame)) > 0:
            part, exchange.body = exchange.body[:size], exchange.body[size:]
            self._window -= len(part)
            exchange.window -= len(part)
            flags = 0 if exchange.body else http2.END_STREAM
            frames.append(http2.frame(http2.DATA, flags, stream, part))
        return b"".join(frames)

    def _send_on(self) -> None:
        """Go on with requests that waited for the server."""
        self._write(b"".join(self._sendable(*pair) for pair in self._exchanges.items()))

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _end(self, problem: str) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()
        for exchange in self._exchanges.values():
            if not exchange.ended:
                exchange.end(LostCallError(problem))
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def _on_data(self, frame: Frame) -> None:
        self._unread += len(frame.payload)
        if self._unread >= _WINDOW // 4:
            self._write(http2.window_update(0, self._unread))
            self._unread = 0
        exchange = self._exchanges.get(frame.stream)
        if exchange is None:
            return  # We took the call back, and the server did not know yet.
        exchange.replies += frame.content
        exchange.unread += len(frame.payload)
        if frame.flags & http2.END_STREAM:
            exchange.end()
        elif exchange.unread >= _WINDOW // 4:
            self._write(http2.window_update(frame.stream, exchange.unread))
            exchange.unread = 0

    def _on_headers(self, frame: Frame) -> None:
        self._collect(frame, bytearray(frame.content), whole=bool(frame.flags & http2.END_HEADERS))

    def _on_continuation(self, frame: Frame) -> None:
        if self._block is None or frame.stream != self._block[0].stream:
            raise Http2Error("headers go on that have not begun")
        first, block = self._block
        block += frame.payload
        if len(block) > _LARGEST_BLOCK:
            raise Http2Error("headers are too long")
        self._collect(first, block, whole=bool(frame.flags & http2.END_HEADERS))

    def _collect(self, first: Frame, block: bytearray, *, whole: bool) -> None:
        self._block = None if whole else (first, block)
        if not whole:
            return
        headers = self._headers.read(bytes(block))  # also of calls that we took back: it may change the table
        exchange = self._exchanges.get(first.stream)
        if exchange is not None:
            exchange.headers.update(headers)
            if first.flags & http2.END_STREAM:
                exchange.end()

    def _on_reset(self, frame: Frame) -> None:
        code = http2.number_in(frame.payload)
        exchange = self._exchanges.get(frame.stream)
        if exchange is not None and not exchange.ended:
            exchange.end(LostCallError(f"the call was reset (HTTP/2 error {code})"))

    def _on_settings(self, frame: Frame) -> None:
        if frame.flags & http2.ACK:
            return
        for name, value in http2.settings_in(frame.payload):
            match name:
                case http2.MAX_CONCURRENT_STREAMS:
                    self._limit = value
                case http2.MAX_FRAME_SIZE:
                    self._largest_frame = value
                case http2.INITIAL_WINDOW_SIZE:
                    for exchange in self._exchanges.values():
                        exchange.window += value - self._first_window
                    self._first_window = value
        self._write(http2.frame(http2.SETTINGS, http2.ACK, 0))
        self._next_turn()
        self._send_on()

    def _on_ping(self, frame: Frame) -> None:
        if not frame.flags & http2.ACK:
            self._write(http2.frame(http2.PING, http2.ACK, 0, frame.payload))

    def _on_goaway(self, frame: Frame) -> None:
        """Let the calls end that the server still answers, and make no more."""
        last = http2.number_in(frame.payload)
        self._leaving = True
        for stream, exchange in self._exchanges.items():
            if stream > last and not exchange.ended:
                exchange.end(LostCallError("the runtime is going away"))
        self._leave()

    def _leave(self) -> None:
        if self._leaving and not self._exchanges:
            self._end("the runtime is going away")

    def _on_window(self, frame: Frame) -> None:
        size = http2.number_in(frame.payload)
        if frame.stream == 0:
            self._window += size
        elif frame.stream in self._exchanges:
            self._exchanges[frame.stream].window += size
        self._send_on()
