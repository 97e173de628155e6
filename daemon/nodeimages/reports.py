"""Writes NodeImage status: at once when something happened, at a bounded rate when only bytes moved."""

from collections.abc import Iterable, Mapping
from itertools import groupby

import msgspec

from daemon.engine.clock import Clock
from daemon.engine.objects import NotFoundError, Objects
from daemon.engine.reconciling import Controller
from daemon.metrics import Metrics
from daemon.nodeimages.plans import Wanted
from daemon.objects.images import ImageStatus, ImageTagStatus, NodeImage, NodeImageStatus
from daemon.objects.meta import Key


class Reports:
    """The latest report of the node, and its writer. While one write runs, later ones merge."""

    def __init__(
        self, node_images: Objects[NodeImage], metrics: Metrics, clock: Clock, *, interval: float
    ) -> None:
        self.controller: Controller[Key] = Controller("reports", self._write, metrics)
        self._node_images = node_images
        self._clock = clock
        self._interval = interval
        self._latest: dict[Key, NodeImageStatus] = {}
        self._written_at = float("-inf")

    def publish(self, key: Key, wanted: Iterable[Wanted], report: Mapping[str, ImageTagStatus]) -> None:
        """Have the status of the wanted images written soon."""
        status = self._latest[key] = status_of(wanted, report)
        stored = self._node_images.get(key)
        if stored is not None and stored.status != status:  # also when somebody made the object anew
            self.controller.queue.add(key)

    async def _write(self, key: Key) -> float | None:
        stored = self._node_images.get(key)
        status = self._latest.get(key)
        if stored is None or status is None or stored.status == status:
            return None
        since = self._clock.monotonic() - self._written_at
        if since < self._interval and _without_progress(stored.status) == _without_progress(status):
            return self._interval - since
        # Our status is ours alone, whatever happens to the spec meanwhile: no resourceVersion.
        metadata = msgspec.structs.replace(stored.metadata, resource_version="")
        try:
            await self._node_images.replace_status(
                msgspec.structs.replace(stored, metadata=metadata, status=status)
            )
        except NotFoundError:
            return None
        self._written_at = self._clock.monotonic()
        return None


def status_of(wanted: Iterable[Wanted], report: Mapping[str, ImageTagStatus]) -> NodeImageStatus:
    """The node's status in the wire format: counts of tags, and one entry a tag, in stable order."""
    told = [(item.name, report[item.ref]) for item in wanted if item.ref in report]
    told.sort(key=lambda pair: (pair[0], pair[1].tag))
    phases = [status.phase for _, status in told]
    return NodeImageStatus(
        desired=len(told),
        succeeded=phases.count("Succeeded"),
        failed=phases.count("Failed"),
        pulling=phases.count("Pulling"),
        waiting=phases.count("Waiting"),
        image_statuses={
            name: ImageStatus(tags=tuple(status for _, status in group))
            for name, group in groupby(told, key=lambda pair: pair[0])
        },
    )


def _without_progress(status: NodeImageStatus) -> NodeImageStatus:
    return msgspec.structs.replace(
        status,
        image_statuses={
            name: ImageStatus(tags=tuple(msgspec.structs.replace(tag, progress=0) for tag in image.tags))
            for name, image in status.image_statuses.items()
        },
    )
