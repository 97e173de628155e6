"""What a faulty registry does wrong, and what it saw: data and small decisions, no server."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

CODES: Final = {401: "UNAUTHORIZED", 403: "DENIED", 404: "MANIFEST_UNKNOWN", 429: "TOOMANYREQUESTS"}
"""Error codes of the OCI distribution specification by HTTP status."""
SLICE: Final = 16384
"""Bytes sent at once while throttled."""


@dataclass(slots=True, eq=False)
class Fault:
    """One thing that goes wrong with requests whose path contains ``path``, ``times`` times or for ever."""

    path: str = ""
    method: str = "GET"
    """Empty: any."""
    times: int | None = None
    status: int | None = None
    """Answer this status instead of the content."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Send this instead of the content."""
    corrupt: bool = False
    """Send as many bytes as the content has, but others."""
    rate: float | None = None
    """Bytes a second over all requests together."""
    hold_after: int | None = None
    """Send this many bytes, then nothing more until released. -1 holds the answer back altogether."""
    reset_after: int | None = None
    """Send this many bytes, then reset the connection."""
    hits: int = 0
    """How many requests met it."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request is being held."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _free_at: float = 0.0

    def release(self) -> None:
        """Let held requests go on, and hold no further ones."""
        self.released.set()

    async def hold(self) -> None:
        """Wait for the release."""
        self.held.set()
        await self.released.wait()

    async def pace(self, size: int) -> None:
        """Wait for as long as *size* bytes take at the rate."""
        if self.rate is not None:
            self._free_at = max(self._free_at, time.monotonic()) + size / self.rate
            await asyncio.sleep(self._free_at - time.monotonic())

    def matches(self, method: str, path: str) -> bool:
        """Whether this request meets it."""
        spent = self.times is not None and self.hits >= self.times
        return not spent and self.path in path and self.method in {"", method}


def throttle(rate: float, path: str = "/blobs/") -> Fault:
    """Blobs come at *rate* bytes a second."""
    return Fault(path, rate=rate)


def hold(after: int, path: str = "/blobs/", *, times: int | None = None) -> Fault:
    """Send *after* bytes and stall until released; -1 answers nothing at all."""
    return Fault(path, hold_after=after, times=times)


def reset(after: int, path: str = "/blobs/", *, times: int | None = None) -> Fault:
    """Send *after* bytes and reset the connection."""
    return Fault(path, reset_after=after, times=times)


def answer(
    status: int,
    path: str = "",
    *,
    times: int | None = None,
    retry_after: int | None = None,
    message: str = "as told",
) -> Fault:
    """Answer *status* to every method, with the body that registries send."""
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return Fault(
        path, method="", times=times, status=status, headers=headers, body=error_body(status, message)
    )


def garbage(path: str = "/manifests/", *, times: int | None = None) -> Fault:
    """Answer 200 with something that is not JSON."""
    return Fault(path, times=times, body=b'{"schemaVersion": 2, "layers": [<html>')


def corrupt(path: str = "/blobs/", *, times: int | None = None) -> Fault:
    """Send other bytes than those of the digest."""
    return Fault(path, times=times, corrupt=True)


def error_body(status: int, message: str) -> bytes:
    """The JSON of a registry's error."""
    code = CODES.get(status, "UNKNOWN")
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@dataclass(slots=True)
class Served:
    """One request that was answered, or is being."""

    method: str
    path: str
    status: int = 0
    bytes: int = 0
    """Sent so far, without headers."""
    user: str = ""
    """Who asked, as far as it was let in."""
