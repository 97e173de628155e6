"""Pins by lease: a removed image's content and snapshots stay, so that it returns without being fetched."""

from collections.abc import Collection
from hashlib import sha256
from typing import Final

import msgspec

from daemon import names
from daemon.cri.channel import Channel
from daemon.cri.containerd.calls import ask
from daemon.cri.containerd.v1 import leases_pb2 as pb
from daemon.cri.containerd.v1.leases_grpc import LeasesStub
from daemon.cri.errors import AlreadyExistsError, NotFoundError

_OURS: Final = f'labels."{names.PIN_OWNER_LABEL}"'
"""A filter that matches the leases with our label, whatever its value."""


class Resource(msgspec.Struct, frozen=True):
    """What a lease keeps: a blob by digest, or a snapshot by key."""

    type: str
    id: str


def content(digest: str) -> Resource:
    """A blob."""
    return Resource("content", digest)


def snapshot(snapshotter: str, key: str) -> Resource:
    """A snapshot, with all below it."""
    return Resource(f"snapshots/{snapshotter}", key)


def lease_id(ref: str) -> str:
    """The lease of *ref*: containerd allows fewer characters in an id than a reference has."""
    return names.LEASE_PREFIX + sha256(ref.encode()).hexdigest()[:32]


class LeasePins:
    """Our leases. All methods raise CriError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._stub: LeasesStub = channel.stub(LeasesStub)

    async def pin(self, ref: str, resources: Collection[Resource]) -> None:
        """Keep *resources* for *ref*, and nothing else for it. Idempotent."""
        lease = lease_id(ref)
        held = frozenset() if await self._create(lease, ref) else await self._held(lease)
        for resource in frozenset(resources) - held:
            await self._add(lease, resource)
        for resource in held - frozenset(resources):
            await self._drop(lease, resource)

    async def unpin(self, ref: str, *, collect: bool = False) -> None:
        """Let go of what is kept for *ref*, and wait for its space when it is to be collected. Idempotent."""
        request = pb.DeleteRequest(id=lease_id(ref), sync=collect)
        try:
            await ask(self._channel, self._stub.Delete, request)
        except NotFoundError:
            return

    async def pinned(self) -> frozenset[str]:
        """The references with a lease of ours."""
        request = pb.ListRequest(filters=[_OURS])
        reply = await ask(self._channel, self._stub.List, request)
        return frozenset(lease.labels[names.PIN_OWNER_LABEL] for lease in reply.leases)

    async def _create(self, lease: str, ref: str) -> bool:
        """Create the lease; False when it is there."""
        request = pb.CreateRequest(id=lease, labels={names.PIN_OWNER_LABEL: ref})
        try:
            await ask(self._channel, self._stub.Create, request)
        except AlreadyExistsError:
            return False
        return True

    async def _held(self, lease: str) -> frozenset[Resource]:
        request = pb.ListResourcesRequest(id=lease)
        reply = await ask(self._channel, self._stub.ListResources, request)
        return frozenset(Resource(resource.type, resource.id) for resource in reply.resources)

    async def _add(self, lease: str, resource: Resource) -> None:
        request = pb.AddResourceRequest(id=lease, resource=pb.Resource(type=resource.type, id=resource.id))
        await ask(self._channel, self._stub.AddResource, request)

    async def _drop(self, lease: str, resource: Resource) -> None:
        request = pb.DeleteResourceRequest(id=lease, resource=pb.Resource(type=resource.type, id=resource.id))
        await ask(self._channel, self._stub.DeleteResource, request)
