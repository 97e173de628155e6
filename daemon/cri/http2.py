"""HTTP/2 as far as a gRPC client needs it: frames, and headers that mean the same in every block. Pure.

See RFC 9113 for frames, RFC 7541 for headers, gRPC's "PROTOCOL-HTTP2" for what requests carry.
"""

import struct
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import hpack

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 2, 3, 4, 5
CANCEL: Final = 8
"""The error code by which a call is taken back."""
FIRST_WINDOW: Final = 65_535
FIRST_FRAME: Final = 16_384
"""Bytes that may be sent, in all and in a frame, until the other side says otherwise."""

Metadata = tuple[tuple[str, str], ...]
"""Names and values of a call's own headers."""

_HEAD: Final = struct.Struct(">BHBBI")
_SETTING: Final = struct.Struct(">HI")
_KEPT: Final = 64
"""Blocks of headers that are kept with their meaning; nearly all replies have the same few."""
_LONGEST_KEPT: Final = 256
_FIRST: Final = (
    b"\x83\x86"  # :method POST, :scheme http
    b"\x01\x09localhost"  # :authority
    b"\x04"  # :path
)
_THEN: Final = (
    b"\x00\x02te\x08trailers"
    b"\x0f\x10\x10application/grpc"  # content-type
    b"\x0f\x2b\x08inplaced"  # user-agent
)


class Http2Error(Exception):
    """The other side does not speak HTTP/2 as agreed: nothing more can be understood of it."""


class Frame(NamedTuple):
    """One frame as it arrived."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def content(self) -> bytes:
        """The payload less padding and priority. Raises Http2Error."""
        start, end = 0, len(self.payload)
        if self.flags & PADDED:
            start, end = 1, end - (self.payload[0] if self.payload else end)
        if self.kind == HEADERS and self.flags & PRIORITY:
            start += 5
        if start > end:
            raise Http2Error("a frame has more padding than content")
        return self.payload[start:end]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """The bytes of one frame."""
    size = len(payload)
    return _HEAD.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def settings(values: Mapping[int, int]) -> bytes:
    """The frame that tells *values* to the other side."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def window_update(stream: int, size: int) -> bytes:
    """The frame that lets the other side send *size* bytes more."""
    return frame(WINDOW_UPDATE, 0, stream, size.to_bytes(4))


def settings_in(payload: bytes) -> Iterator[tuple[int, int]]:
    """What the other side has told. Raises Http2Error."""
    if len(payload) % _SETTING.size:
        raise Http2Error("settings are cut off")
    yield from _SETTING.iter_unpack(payload)


def number_in(payload: bytes, start: int = 0) -> int:
    """The 31-bit number that begins at *start*. Raises Http2Error."""
    if len(payload) < start + 4:
        raise Http2Error("a frame is cut off")
    return int.from_bytes(payload[start : start + 4]) & 0x7FFFFFFF


class FrameReader:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """Take *data* in and return the frames that are whole now. Raises Http2Error."""
        data = self._rest + data
        frames: list[Frame] = []
        start = 0
        while len(data) - start >= _HEAD.size:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, start)
            end = start + _HEAD.size + (high << 16 | low)
            if end - start > FIRST_FRAME + _HEAD.size:
                raise Http2Error("a frame is larger than allowed")
            if end > len(data):
                break
            frames.append(Frame(kind, flags, stream & 0x7FFFFFFF, data[start + _HEAD.size : end]))
            start = end
        self._rest = data[start:]
        return frames


class HeaderReader:
    """Reads blocks of headers. Where the other side keeps no table of them, a block is only read once."""

    def __init__(self) -> None:
        self._decoder = hpack.Decoder()
        self._known: dict[bytes, Mapping[str, str]] = {}

    def read(self, block: bytes) -> Mapping[str, str]:
        """The headers of *block*, of repeated ones the last. Raises Http2Error."""
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            headers = {str(name): str(value) for name, value in self._decoder.decode(block)}
        except hpack.HPACKError as error:
            raise Http2Error(f"headers cannot be read: {error}") from error
        tableless = self._decoder.header_table_size == 0
        if tableless and len(block) <= _LONGEST_KEPT and len(self._known) < _KEPT:
            self._known[block] = headers
        return headers


@lru_cache(maxsize=128)
def request_headers(path: str, metadata: Metadata) -> bytes:
    """The block for a call of *path*, to which others may be added: nothing in it needs a table."""
    return _FIRST + _text(path) + _THEN + b"".join(header(*pair) for pair in metadata)


def header(name: str, value: str) -> bytes:
    """One more header for a block."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode()
    return _integer(len(data)) + data


def _integer(number: int) -> bytes:
    """With a prefix of 7 bits, of which all are set when more bytes follow."""
    if number < 0x7F:
        return bytes([number])
    encoded, rest = bytearray([0x7F]), number - 0x7F
    while rest >= 0x80:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*encoded, rest])
