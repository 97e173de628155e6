"""Finds the requests of this node, whoever serves their kind, and has them served."""

import asyncio
from collections.abc import Sequence

import structlog

from daemon import names
from daemon.debug.views import PodsView
from daemon.engine.lifecycle import Closable, Part
from daemon.kube.backoff import Backoff
from daemon.kube.errors import ApiError, RefusedError
from daemon.kube.informer import Informer
from daemon.kube.resources import LOCAL_RECREATES
from daemon.kube.selections import Selection
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.meta import LabelSelector
from daemon.objects.recreates import ContainerRecreateRequest
from daemon.restarts.recreates import INDEXES, Recreates
from daemon.restarts.stopping import Stopper

_LONGEST_PAUSE = 60.0
"""Seconds between two looks for the kind."""

log = structlog.get_logger()


class RecreateFeature:
    """ContainerRecreateRequests: a feature of the agent. Without the kind, it asks for it now and then."""

    def __init__(self, around: PodSurroundings, stopper: Stopper) -> None:
        self._around = around
        self._recreates = Recreates(around, stopper)
        self._pods_known = asyncio.Event()

    @property
    def feeders(self) -> Sequence[Part]:
        """What runs until it is cancelled."""
        return (self._follow,)

    @property
    def workers(self) -> Sequence[Part]:
        """What ends by itself when the queues are closed."""
        return self._recreates.workers

    @property
    def queues(self) -> Sequence[Closable]:
        """What is closed to end the workers."""
        return self._recreates.queues

    def start(self) -> None:
        """Begin: all pods are known."""
        self._pods_known.set()

    def wake(self) -> None:
        """Try again what failed: a runtime came or went."""
        self._recreates.wake()

    def view(self) -> PodsView:
        """The containers that wait to be stopped."""
        return self._recreates.view()

    async def _follow(self) -> None:
        await self._pods_known.wait()
        requests = await self._found()
        async with asyncio.TaskGroup() as group:
            group.create_task(requests.run(), name="follow-requests")
            await requests.synced()
            self._recreates.follow(requests)

    async def _found(self) -> Informer[ContainerRecreateRequest]:
        backoff, told = Backoff(longest=_LONGEST_PAUSE), ""
        while True:
            try:
                return await self._informer()
            except ApiError as error:
                if str(error) != told:  # a cluster may well be without the kind
                    told = str(error)
                    log.warning("requests not followed yet", error=told)
                await asyncio.sleep(max(error.retry_after, backoff.next()))

    async def _informer(self) -> Informer[ContainerRecreateRequest]:
        """The requests of the node, by the field of our definition, or by the labels of OpenKruise's."""
        around, node = self._around, self._around.config.node_name
        kind = await around.client.served(LOCAL_RECREATES, names.KRUISE_VERSIONS)
        selection = Selection(fields={"status.nodeName": node})
        try:
            await around.client.list(kind, selection)
        except RefusedError:
            labels = {names.RECREATE_NODE_LABEL: node, names.RECREATE_ACTIVE_LABEL: "true"}
            selection = Selection(labels=LabelSelector(match_labels=labels))
            log.info("requests are found by labels", node=node)
        return Informer(around.client, kind, around.metrics, selection=selection, indexes=INDEXES)
