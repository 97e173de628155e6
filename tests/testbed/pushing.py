"""Puts builds into a registry over HTTP, and makes named images out of them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urljoin

import aiohttp

from tests.testbed import images
from tests.testbed.images import Blob, Build, Layer, Platform
from tests.testbed.session import TestbedError

DEADLINE: Final = aiohttp.ClientTimeout(total=300.0, sock_connect=5.0)


@dataclass(frozen=True, slots=True)
class Image:
    """An image in a registry. Sizes are bytes."""

    ref: str
    """host/repository:tag, as given to a runtime."""
    host: str
    repository: str
    tag: str
    digest: str
    """Of the manifest, or of the index."""
    config_digest: str
    """What CRI calls the image's ID; empty for an index."""
    layers: tuple[Layer, ...]
    build: Build = field(repr=False)

    @property
    def name(self) -> str:
        """host/repository, without a tag."""
        return f"{self.host}/{self.repository}"

    @property
    def by_digest(self) -> str:
        """host/repository@digest."""
        return f"{self.name}@{self.digest}"

    @property
    def size(self) -> int:
        """Of all distinct layers together, compressed."""
        return sum({layer.digest: layer.size for layer in self.layers}.values())


class Shelf(Protocol):
    """Anything that images can be put into."""

    @property
    def host(self) -> str:
        """host:port, as it stands in references."""
        ...

    async def put(self, build: Build, repository: str, tags: Sequence[str]) -> None:
        """Store *build* under each of *tags*; no tag at all stores it by digest only."""
        ...


@dataclass(frozen=True, slots=True)
class ImageMaker:
    """Makes images on one shelf, all below one repository prefix."""

    shelf: Shelf
    prefix: str = "test"

    async def make(
        self,
        name: str,
        layers: Sequence[Layer] = (),
        *,
        tags: Sequence[str] = ("v1",),
        command: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        platform: Platform = images.HERE,
    ) -> Image:
        """Make an image of *layers* (by default one small one) and store it; its ref has the first tag."""
        chosen = layers or (images.random_layer(f"{self.prefix}/{name}", 1000),)
        return await self.store(
            name, images.build(chosen, command=command, env=env, platform=platform), tags=tags
        )

    async def make_random(self, name: str, *sizes: int, tags: Sequence[str] = ("v1",)) -> Image:
        """Make an image of random layers of these sizes; no other name has the same layers."""
        layers = await asyncio.to_thread(self._random_layers, name, sizes)
        return await self.make(name, layers, tags=tags)

    async def make_runnable(
        self, name: str, command: Sequence[str] = ("sleep", "2147483647"), *, tags: Sequence[str] = ("v1",)
    ) -> Image:
        """Make an image with busybox that runs *command*."""
        return await self.make(name, [images.busybox_layer()], command=command, tags=tags)

    async def store(self, name: str, build: Build, *, tags: Sequence[str] = ("v1",)) -> Image:
        """Store a build under the prefix."""
        repository = f"{self.prefix}/{name}"
        await self.shelf.put(build, repository, tags)
        host, tag = self.shelf.host, tags[0] if tags else ""
        ref = f"{host}/{repository}:{tag}" if tag else f"{host}/{repository}@{build.digest}"
        config = build.config.digest if build.config else ""
        return Image(ref, host, repository, tag, build.digest, config, build.layers, build)

    def missing(self, name: str, tag: str = "v1") -> str:
        """A reference that the shelf does not have."""
        return f"{self.shelf.host}/{self.prefix}/{name}:{tag}"

    def _random_layers(self, name: str, sizes: Sequence[int]) -> list[Layer]:
        return [
            images.random_layer(f"{self.prefix}/{name}/{number}", size) for number, size in enumerate(sizes)
        ]


@dataclass(frozen=True, slots=True)
class Pusher:
    """Pushes to a registry as its API wants it (OCI distribution specification 1.1, push)."""

    base: str
    """http://host:port or https://host:port."""
    username: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None
    chunk: int | None = None
    """Bytes in each PATCH of a chunked upload; None sends a blob at once."""

    async def push(self, build: Build, repository: str, tags: Sequence[str]) -> None:
        """Push what the registry lacks, then the manifests. Raises TestbedError."""
        async with self.session() as session:
            for blob in {blob.digest: blob for blob in build.blobs()}.values():
                await self._push_blob(session, repository, blob)
            for manifest in build.manifests():
                await self._push_manifest(session, repository, manifest, manifest.digest)
            for tag in tags:
                await self._push_manifest(session, repository, build.manifest, tag)

    def session(self) -> aiohttp.ClientSession:
        import ssl

        headers = {}
        if self.username:
            headers["Authorization"] = aiohttp.encode_basic_auth(self.username, self.password)
        context = ssl.create_default_context(cafile=self.ca) if self.ca else None
        connector = aiohttp.TCPConnector(ssl=context or True)
        return aiohttp.ClientSession(headers=headers, timeout=DEADLINE, connector=connector)

    async def _push_blob(self, session: aiohttp.ClientSession, repository: str, blob: Blob) -> None:
        async with session.head(f"{self.base}/v2/{repository}/blobs/{blob.digest}") as answer:
            if answer.status == 200:
                return
        async with session.post(f"{self.base}/v2/{repository}/blobs/uploads/") as answer:
            location = await self._location(answer)
        if self.chunk is None:
            location = await self._patch(session, location, chunks_of(blob), None)
        else:
            async for start, part in _parts(blob, self.chunk):
                location = await self._patch(session, location, part, f"{start}-{start + len(part) - 1}")
        async with session.put(_with(location, "digest", blob.digest)) as answer:
            await _check(answer)
            if answer.headers.get("Docker-Content-Digest", blob.digest) != blob.digest:
                raise TestbedError(f"the registry stored another digest than {blob.digest}")

    async def _patch(
        self,
        session: aiohttp.ClientSession,
        location: str,
        data: AsyncIterator[bytes] | bytes,
        content_range: str | None,
    ) -> str:
        headers = {"Content-Type": "application/octet-stream"}
        if content_range:
            headers["Content-Range"] = content_range
        async with session.patch(location, data=data, headers=headers) as answer:
            return await self._location(answer)

    async def _push_manifest(
        self, session: aiohttp.ClientSession, repository: str, manifest: Blob, reference: str
    ) -> None:
        content = b"".join(manifest.source())
        url = f"{self.base}/v2/{repository}/manifests/{reference}"
        async with session.put(url, data=content, headers={"Content-Type": manifest.media_type}) as answer:
            await _check(answer)

    async def _location(self, answer: aiohttp.ClientResponse) -> str:
        await _check(answer)
        return urljoin(self.base, answer.headers["Location"])


async def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status >= 300:
        raise TestbedError(f"{answer.method} {answer.url}: {answer.status} {await answer.text()}")


async def chunks_of(blob: Blob) -> AsyncGenerator[bytes, None]:
    """Make the bytes in a thread, one chunk ahead of what is being sent."""
    source = blob.source()
    ahead = asyncio.create_task(asyncio.to_thread(next, source, None))
    try:
        while (chunk := await ahead) is not None:
            ahead = asyncio.create_task(asyncio.to_thread(next, source, None))
            yield chunk
    finally:
        ahead.cancel()


async def _parts(blob: Blob, size: int) -> AsyncIterator[tuple[int, bytes]]:
    start, buffer = 0, bytearray()
    async for chunk in chunks_of(blob):
        buffer += chunk
        while len(buffer) >= size:
            yield start, bytes(buffer[:size])
            start += size
            del buffer[:size]
    if buffer:
        yield start, bytes(buffer)


def _with(url: str, name: str, value: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{name}={value}"
