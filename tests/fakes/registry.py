"""A registry with a token server, on real sockets: it serves what it is given, and notes what it is asked."""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from aiohttp import web

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Asked:
    """One request that arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: Mapping[str, str]
    connection: object = None
    """Where it came from: the client's address and port."""

    @property
    def authorization(self) -> str:
        return self.headers.get("Authorization", "")


Answer = Callable[[Asked], web.StreamResponse | Awaitable[web.StreamResponse]]


@dataclass
class FakeRegistry:
    """Serves manifests; ``guard`` may refuse, ``answers`` take the place of whole paths."""

    manifests: dict[str, bytes] = field(default_factory=dict)
    """By repository:tag or repository@digest."""
    guard: Callable[[Asked], web.StreamResponse | None] = lambda _asked: None
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def put(self, repository: str, tag: str, document: Mapping[str, Any]) -> str:
        """Store a manifest under a tag and its digest, which is returned."""
        body = json.dumps(document).encode()
        digest = f"sha256:{sha256(body).hexdigest()}"
        self.manifests[f"{repository}:{tag}"] = self.manifests[f"{repository}@{digest}"] = body
        return digest

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        connection = request.transport.get_extra_info("peername") if request.transport else None
        asked = Asked(
            request.method, request.path, dict(request.query), dict(request.headers), form, connection
        )
        self.asked.append(asked)
        if answer := self.answers.get(request.path):
            given = answer(asked)
            return await given if isinstance(given, Awaitable) else given
        return self.guard(asked) or self._manifest(request.path)

    def _manifest(self, path: str) -> web.Response:
        repository, _, reference = path.removeprefix("/v2/").partition("/manifests/")
        joint = "@" if ":" in reference else ":"
        body = self.manifests.get(f"{repository}{joint}{reference}")
        if body is None:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        return web.Response(body=body, content_type=MANIFEST)


@asynccontextmanager
async def serving(registry: FakeRegistry, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeRegistry]:
    """Serve on a free port of the loopback interface."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", registry.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        registry.port = runner.addresses[0][1]
        yield registry
    finally:
        await runner.cleanup()


def basic(username: str, password: str) -> str:
    """The header of a user with a password."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def demanding(challenge: str, accepted: Sequence[str]) -> Callable[[Asked], web.Response | None]:
    """A guard that lets in who shows one of the accepted headers."""

    def guard(asked: Asked) -> web.Response | None:
        if asked.authorization in accepted:
            return None
        return web.json_response({}, status=401, headers={"WWW-Authenticate": challenge})

    return guard
