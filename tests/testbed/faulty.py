"""A registry that serves images from memory and goes wrong on demand, and that counts what it is asked."""

import itertools
import socket
import ssl
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final, NoReturn

from aiohttp import web

from tests.testbed.access import TOKEN_PATH, Access, Bearer, Open, Refused
from tests.testbed.certificates import Certificates
from tests.testbed.containerd_config import trust
from tests.testbed.faults import SLICE, Fault, Served, error_body
from tests.testbed.images import Blob, Build
from tests.testbed.pushing import chunks_of
from tests.testbed.session import current_session

FLIPPED: Final = bytes(range(255, -1, -1))
"""Turns each byte into another one."""


@dataclass(slots=True, eq=False)
class FaultyRegistry:
    """Lives on the event loop that started it; ``access`` and ``faults`` may be changed at any time."""

    address: str = "127.0.0.1"
    access: Access = field(default_factory=Open)
    certificates: Certificates | None = None
    faults: list[Fault] = field(default_factory=list)
    served: list[Served] = field(default_factory=list)
    """All requests so far, those under way included."""
    port: int = 0
    _blobs: dict[str, Blob] = field(default_factory=dict)
    _manifests: dict[tuple[str, str], Blob] = field(default_factory=dict)
    _runner: web.AppRunner | None = None

    @property
    def host(self) -> str:
        """host:port, as it stands in references."""
        return f"{self.address}:{self.port}"

    @property
    def url(self) -> str:
        """Where it is served."""
        return f"{'https' if self.certificates else 'http'}://{self.host}"

    async def start(self) -> None:
        """Listen; after a stop on the same port as before."""
        app = web.Application()
        app.router.add_route("*", TOKEN_PATH, self._token)
        app.router.add_route("*", "/v2/{path:.*}", self._answer)
        # Whoever is held must not keep the registry from stopping.
        self._runner = web.AppRunner(app, shutdown_timeout=0.0, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.address, self.port, ssl_context=self._tls())
        await site.start()
        self.port = self._runner.addresses[0][1]
        ca = self.certificates.ca if self.certificates else None
        trust(current_session().certificates, self.host, ca=ca, plain_http=ca is None)

    async def stop(self) -> None:
        """Cut all connections and listen no more."""
        if self._runner is not None:
            self._abort()
            await self._runner.cleanup()
            self._runner = None

    def _abort(self) -> None:
        """Wait for no goodbye: over TLS a client that says none would outlive the event loop."""
        server = self._runner.server if self._runner is not None else None
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def put(self, build: Build, repository: str, tags: Sequence[str]) -> None:
        """Serve *build* from now on."""
        self._blobs.update((blob.digest, blob) for blob in build.blobs())
        self._manifests.update(((repository, part.digest), part) for part in build.manifests())
        self._manifests.update(((repository, tag), build.manifest) for tag in tags)

    def go_wrong(self, fault: Fault) -> Fault:
        """Have matching requests meet *fault*; the first that matches counts."""
        self.faults.append(fault)
        return fault

    def recover(self) -> None:
        """Go wrong no more, and let go what is held."""
        for fault in self.faults:
            fault.release()
        self.faults.clear()

    def requests(self, path: str = "", method: str = "GET") -> list[Served]:
        """Those whose path contains *path*."""
        return [served for served in self.served if path in served.path and served.method == method]

    def bytes_of(self, path: str) -> int:
        """Bytes sent so far for paths that contain *path*."""
        return sum(served.bytes for served in self.requests(path))

    def _tls(self) -> ssl.SSLContext | None:
        if self.certificates is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificates.chain, self.certificates.key)
        return context

    async def _token(self, request: web.Request) -> web.StreamResponse:
        if not isinstance(self.access, Bearer):
            raise web.HTTPNotFound
        return await self.access.token(request)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        served = Served(request.method, request.path)
        self.served.append(served)
        fault = self._fault(request)
        if fault.hold_after == -1:
            await fault.hold()
        admitted = self.access.admit(request)
        if isinstance(admitted, Refused):
            return _error(served, 401, "authentication required", {"WWW-Authenticate": admitted.challenge})
        served.user = admitted
        found = self._find(request.path.removeprefix("/v2/"))
        if fault.status is not None or fault.body is not None:
            return _replaced(served, fault, found)
        if request.path.rstrip("/") == "/v2":
            return _whole(served, 200, b"{}", {"Docker-Distribution-Api-Version": "registry/2.0"})
        if found is None:
            return _error(served, 404, "not known to this registry")
        return await _Sending(request, served, fault, found).send()

    def _fault(self, request: web.Request) -> Fault:
        fault = next((each for each in self.faults if each.matches(request.method, request.path)), Fault())
        fault.hits += 1
        return fault

    def _find(self, path: str) -> Blob | None:
        repository, kind, reference = path.rpartition("/manifests/")
        if kind:
            return self._manifests.get((repository, reference))
        return self._blobs.get(path.rpartition("/blobs/")[2])


@dataclass(frozen=True, slots=True)
class _Sending:
    """The way of one blob or manifest to one client."""

    request: web.Request
    served: Served
    fault: Fault
    blob: Blob

    async def send(self) -> web.StreamResponse:
        """Send what was asked for as far as the fault lets it."""
        start = self.request.http_range.start or 0
        response = web.StreamResponse(status=206 if start else 200)
        response.content_type = self.blob.media_type
        response.content_length = self.blob.size - start
        response.headers["Docker-Content-Digest"] = self.blob.digest
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{self.blob.size - 1}/{self.blob.size}"
        self.served.status = response.status
        await response.prepare(self.request)
        if self.request.method == "GET":
            async with aclosing(self._pieces(start)) as pieces:
                async for piece in pieces:
                    await self._before(len(piece))
                    await response.write(piece)
                    self.served.bytes += len(piece)
            await self._before(0)
        await response.write_eof()
        return response

    async def _pieces(self, start: int) -> AsyncGenerator[bytes, None]:
        skip = start
        async with aclosing(chunks_of(self.blob)) as chunks:
            async for chunk in chunks:
                rest = chunk[skip:].translate(FLIPPED) if self.fault.corrupt else chunk[skip:]
                skip = max(0, skip - len(chunk))
                for piece in self._cut(rest):
                    yield piece

    def _cut(self, chunk: bytes) -> list[bytes]:
        """Cut small enough for the rate, and exactly where the fault strikes."""
        stops = [stop for stop in (self.fault.hold_after, self.fault.reset_after) if stop is not None]
        size = SLICE if self.fault.rate is not None or stops else max(len(chunk), 1)
        cuts = {*range(0, len(chunk), size), *(stop - self.served.bytes for stop in stops)}
        edges = [*sorted(cut for cut in cuts if 0 <= cut < len(chunk)), len(chunk)]
        return [chunk[left:right] for left, right in itertools.pairwise(edges)]

    async def _before(self, size: int) -> None:
        fault, sent = self.fault, self.served.bytes
        await fault.pace(size)
        if fault.reset_after is not None and sent >= fault.reset_after:
            self._reset()
        if fault.hold_after is not None and sent >= fault.hold_after:
            await fault.hold()

    def _reset(self) -> NoReturn:
        transport = self.request.transport
        if transport is not None:
            # Zero linger makes the kernel send RST instead of FIN, see socket(7).
            peer = transport.get_extra_info("socket")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        raise ConnectionResetError


def _replaced(served: Served, fault: Fault, found: Blob | None) -> web.Response:
    headers = dict(fault.headers)
    if found is not None and "Content-Type" not in headers:
        headers["Content-Type"] = found.media_type
    return _whole(served, fault.status or 200, fault.body or b"", headers)


def _error(
    served: Served, status: int, message: str, headers: dict[str, str] | None = None
) -> web.StreamResponse:
    content = {"Content-Type": "application/json"} | (headers or {})
    return _whole(served, status, error_body(status, message), content)


def _whole(served: Served, status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    served.status, served.bytes = status, len(body)
    return web.Response(status=status, body=body, headers=headers)
