"""One gRPC call under way: what is left to send, what has come, and what it means in the end.

See gRPC's "PROTOCOL-HTTP2".
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

_MESSAGE: Final = struct.Struct(">BI")
"""Before each message: whether it is compressed, and its size."""
_OK: Final = "0"
_CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_HTTP_CODES: Final[Mapping[str, str]] = {
    "400": "INTERNAL",
    "401": "UNAUTHENTICATED",
    "403": "PERMISSION_DENIED",
    "404": "UNIMPLEMENTED",
    "429": "UNAVAILABLE",
    "502": "UNAVAILABLE",
    "503": "UNAVAILABLE",
    "504": "UNAVAILABLE",
}
"""What an answer means that is none of a gRPC server (gRPC's "http-grpc-status-mapping")."""


class RefusedCallError(Exception):
    """The server answered with an error. ``code`` names its gRPC status, ``text`` may hold secrets."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


class LostCallError(Exception):
    """The connection, or this one call on it, ended before the answer: ask again on a new one."""


class Exchange:
    """One call under way."""

    __slots__ = ("body", "done", "ended", "failure", "headers", "replies", "unread", "window")

    def __init__(self, body: bytes, window: int) -> None:
        self.body = _MESSAGE.pack(0, len(body)) + body
        """What is still to be sent."""
        self.window = window
        """Bytes that the server takes now."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.headers: dict[str, str] = {}
        self.replies = bytearray()
        self.unread = 0
        """Bytes that came since the server was last told that it may go on."""
        self.ended = False
        self.failure: LostCallError | None = None

    def end(self, failure: LostCallError | None = None) -> None:
        """Nothing more will come."""
        self.ended, self.failure = True, failure
        if not self.done.done():
            self.done.set_result(None)

    def messages(self) -> list[bytes]:
        """The replies. Raises LostCallError or RefusedCallError."""
        if self.failure is not None:
            raise self.failure
        _raise_for(self.headers)
        messages, start, replies = [], 0, bytes(self.replies)
        while start < len(replies):
            begin = start + _MESSAGE.size
            compressed, size = _MESSAGE.unpack_from(replies, start) if begin <= len(replies) else (0, 0)
            start = begin + size
            if compressed or start > len(replies):
                raise LostCallError("the answer is compressed" if compressed else "the answer is cut off")
            messages.append(replies[begin:start])
        return messages


def _raise_for(headers: Mapping[str, str]) -> None:
    """Raise RefusedCallError, if these are not the headers and trailers of a success."""
    status = headers.get("grpc-status")
    if status == _OK:
        return
    if status is not None:
        known = status.isdecimal() and int(status) < len(_CODES)
        code = _CODES[int(status)] if known else "UNKNOWN"
        raise RefusedCallError(code, unquote(headers.get("grpc-message", "")))
    answered = headers.get(":status", "")
    if answered != "200":
        raise RefusedCallError(_HTTP_CODES.get(answered, "UNKNOWN"), f"HTTP status {answered or 'missing'}")
    raise RefusedCallError("UNKNOWN", "the answer has no gRPC status")


def grpc_timeout(seconds: float) -> str:
    """The header's value: at most eight digits, and a unit."""
    milliseconds = max(int(seconds * 1000), 1)
    return f"{milliseconds}m" if milliseconds < 10**8 else f"{min(milliseconds // 1000, 10**8 - 1)}S"
