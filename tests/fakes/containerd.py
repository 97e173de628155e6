"""What containerd serves beside CRI on the same socket: content, image records and leases."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from daemon.cri.containerd.v1 import content_pb2, descriptor_pb2, images_pb2, leases_pb2
from daemon.cri.v1 import runtime_pb2
from tests.fakes.holdings import FakeHoldings
from tests.fakes.runtime import FakeRuntime

PINNED: Final = ("io.cri-containerd.pinned", "pinned")
NAMESPACE: Final = "k8s.io"
EVENT_DELAY: Final = 0.02
"""Seconds after which CRI hears of a changed label."""
_LABEL_FILTER: Final = re.compile(r'labels\."([^"]+)"')

Labelled = TypeVar("Labelled", images_pb2.Image, leases_pb2.Lease)


@dataclass(slots=True, eq=False)
class FakeContainerd:
    """One method a call, named like it; ``service.method`` in ``refuse`` fails instead."""

    node: FakeHoldings
    pins_by_label: bool = True
    """Whether CRI reports labelled images as pinned, as release 2.3 does and 1.6 does not."""
    blobs: dict[str, bytes] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    """Digest of the index or manifest by image id, where it is not the one of the first repository digest."""
    ingests: dict[str, content_pb2.Status] = field(default_factory=dict)
    leases: dict[str, leases_pb2.Lease] = field(default_factory=dict)
    resources: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    refuse: dict[str, Status] = field(default_factory=dict)
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    """What happens when a call of ``service.method`` comes, before it is answered."""
    calls: list[str] = field(default_factory=list)
    unnamed: set[str] = field(default_factory=set)
    """Ids of images without a record named like the id, as another tool leaves them."""
    _labels: dict[str, dict[str, str]] = field(default_factory=dict)

    def fetch(self, ref: str, done: int, total: int) -> None:
        """Let an ingest be that far."""
        self.ingests[ref] = content_pb2.Status(ref=ref, offset=done, total=total)

    def label(self, name: str, labels: Mapping[str, str]) -> None:
        """Set labels of a record as somebody else would."""
        self._labels.setdefault(name, {}).update(labels)
        self._tell_cri()

    def labels(self, name: str) -> dict[str, str]:
        """The labels of a record that is there."""
        return dict(self._records()[name].labels)

    def holds(self, lease: str) -> set[tuple[str, str]]:
        """Type and id of what a lease holds."""
        return self.resources[lease]

    def Info(self, request: content_pb2.InfoRequest) -> content_pb2.InfoResponse:
        info = content_pb2.Info(size=len(self._blob(request.digest)))
        return content_pb2.InfoResponse(info=info)

    def Read(self, request: content_pb2.ReadContentRequest) -> Iterable[content_pb2.ReadContentResponse]:
        blob, half = self._blob(request.digest), len(self._blob(request.digest)) // 2
        yield content_pb2.ReadContentResponse(offset=0, data=blob[:half])
        yield content_pb2.ReadContentResponse(offset=half, data=blob[half:])

    def ListStatuses(self, request: content_pb2.ListStatusesRequest) -> content_pb2.ListStatusesResponse:
        return content_pb2.ListStatusesResponse(statuses=self.ingests.values())

    def Abort(self, request: content_pb2.AbortRequest) -> Empty:
        if self.ingests.pop(request.ref, None) is None:
            raise _not_found(request.ref)
        return Empty()

    def images_Get(self, request: images_pb2.GetImageRequest) -> images_pb2.GetImageResponse:
        return images_pb2.GetImageResponse(image=self._record(request.name))

    def images_List(self, request: images_pb2.ListImagesRequest) -> images_pb2.ListImagesResponse:
        return images_pb2.ListImagesResponse(images=_filtered(self._records().values(), request.filters))

    def images_Update(self, request: images_pb2.UpdateImageRequest) -> images_pb2.UpdateImageResponse:
        if not request.image.HasField("target"):
            raise GRPCError(Status.UNAVAILABLE, "panic: nil pointer dereference")  # As release 2.3.7 does.
        name = self._record(request.image.name).name
        kept = self._labels.setdefault(name, {})
        for path in request.update_mask.paths:
            key = path.removeprefix("labels.")
            kept[key] = request.image.labels.get(key, "")
        self._labels[name] = {key: value for key, value in kept.items() if value}
        asyncio.get_running_loop().call_later(EVENT_DELAY, self._tell_cri)
        return images_pb2.UpdateImageResponse()

    def leases_Create(self, request: leases_pb2.CreateRequest) -> leases_pb2.CreateResponse:
        if request.id in self.leases:
            raise GRPCError(Status.ALREADY_EXISTS, f'lease "{request.id}": already exists')
        self.leases[request.id] = leases_pb2.Lease(id=request.id, labels=request.labels)
        self.resources[request.id] = set()
        return leases_pb2.CreateResponse()

    def leases_Delete(self, request: leases_pb2.DeleteRequest) -> Empty:
        self._lease(request.id)
        del self.leases[request.id], self.resources[request.id]
        return Empty()

    def leases_List(self, request: leases_pb2.ListRequest) -> leases_pb2.ListResponse:
        return leases_pb2.ListResponse(leases=_filtered(self.leases.values(), request.filters))

    def AddResource(self, request: leases_pb2.AddResourceRequest) -> Empty:
        self._lease(request.id).add((request.resource.type, request.resource.id))
        return Empty()

    def DeleteResource(self, request: leases_pb2.DeleteResourceRequest) -> Empty:
        self._lease(request.id).discard((request.resource.type, request.resource.id))
        return Empty()

    def ListResources(self, request: leases_pb2.ListResourcesRequest) -> leases_pb2.ListResourcesResponse:
        held = [leases_pb2.Resource(type=type_, id=id_) for type_, id_ in self._lease(request.id)]
        return leases_pb2.ListResourcesResponse(resources=held)

    def __mapping__(self) -> dict[str, Handler]:
        return {
            f"/{method.containing_service.full_name}/{method.name}": self._handler(method)
            for module in (content_pb2, images_pb2, leases_pb2)
            for service in module.DESCRIPTOR.services_by_name.values()
            for method in service.methods
        }

    def _handler(self, method: MethodDescriptor) -> Handler:
        cardinality = Cardinality.UNARY_STREAM if method.server_streaming else Cardinality.UNARY_UNARY
        types = (GetMessageClass(method.input_type), GetMessageClass(method.output_type))
        return Handler(partial(self._serve, method), cardinality, *types)

    async def _serve(self, method: MethodDescriptor, stream: Stream[Message, Message]) -> None:
        request = await stream.recv_message()
        name = f"{method.containing_service.name}.{method.name}"
        self.calls.append(name)
        if dict(stream.metadata or ()).get("containerd-namespace") != NAMESPACE:
            raise GRPCError(Status.FAILED_PRECONDITION, "namespace is required")
        self.before.get(name, int)()
        if name in self.refuse:
            raise GRPCError(self.refuse[name], "told to")
        reply = self._method(method)(request)
        for message in reply if method.server_streaming else [reply]:
            await stream.send_message(message)

    def _method(self, method: MethodDescriptor) -> Callable[[Any], Any]:
        service = method.containing_service.name.lower()
        found: Callable[[Any], Any] = getattr(self, f"{service}_{method.name}", None) or getattr(
            self, method.name
        )
        return found

    def _records(self) -> dict[str, images_pb2.Image]:
        names = {name: image for image in self.node.images.values() for name in self._names(image)}
        self._labels = {name: labels for name, labels in self._labels.items() if name in names}
        return {
            name: images_pb2.Image(name=name, labels=self._labels.get(name, {}), target=self._target(image))
            for name, image in names.items()
        }

    def _names(self, image: runtime_pb2.Image) -> list[str]:
        by_id = [] if image.id in self.unnamed else [image.id]
        return [*by_id, *image.repo_tags, *image.repo_digests]

    def _target(self, image: runtime_pb2.Image) -> descriptor_pb2.Descriptor:
        digest = self.targets.get(image.id, image.repo_digests[0].rpartition("@")[2])
        return descriptor_pb2.Descriptor(digest=digest)

    def _record(self, name: str) -> images_pb2.Image:
        record = self._records().get(name)
        if record is None:
            raise _not_found(name)
        return record

    def _lease(self, lease_id: str) -> set[tuple[str, str]]:
        if lease_id not in self.leases:
            raise _not_found(lease_id)
        return self.resources[lease_id]

    def _blob(self, digest: str) -> bytes:
        if digest not in self.blobs:
            raise _not_found(digest)
        return self.blobs[digest]

    def _tell_cri(self) -> None:
        if self.pins_by_label:
            for image in self.node.images.values():
                labels = [self._labels.get(name, {}).get(PINNED[0]) for name in self._names(image)]
                image.pinned = PINNED[1] in labels


@dataclass(frozen=True, slots=True)
class Served:
    """A fake containerd with both of its sides."""

    runtime: FakeRuntime
    containerd: FakeContainerd

    @property
    def node(self) -> FakeHoldings:
        return self.runtime.node


@contextlib.asynccontextmanager
async def serving_containerd(path: Path, *, pins_by_label: bool = True) -> AsyncIterator[Served]:
    """A fake containerd that listens on *path* until the end of the block."""
    node = FakeHoldings(version="2.3.7" if pins_by_label else "1.6.20~ds1")
    containerd = FakeContainerd(node, pins_by_label)
    runtime = FakeRuntime(path, node, beside=[containerd])
    await runtime.start()
    try:
        yield Served(runtime, containerd)
    finally:
        await runtime.stop()


def _filtered(all_of: Iterable[Labelled], filters: Iterable[str]) -> list[Labelled]:
    keys = {_label_in(text) for text in filters}
    return [each for each in all_of if not keys or keys & each.labels.keys()]


def _label_in(text: str) -> str:
    found = _LABEL_FILTER.fullmatch(text)
    if found is None:
        raise GRPCError(Status.INVALID_ARGUMENT, f"the fake knows no such filter: {text}")
    return found[1]


def _not_found(name: str) -> GRPCError:
    return GRPCError(Status.NOT_FOUND, f'"{name}": not found')
