"""The agent's work on the pods of its node: a copy of them, and the features that act on it."""

from collections.abc import Callable, Sequence
from itertools import chain

from daemon.debug.views import PodsView
from daemon.engine.lifecycle import Closable, Part
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.resources import LOCAL_PODS
from daemon.kube.selections import Selection
from daemon.localpods.sights import bounded, joined
from daemon.localpods.surroundings import PodFeature, PodSurroundings
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.preflight.reconciler import Preflight
from daemon.resizes.reconciler import Resizes
from daemon.restarts.together import Restarts

MakeFeature = Callable[[PodSurroundings], PodFeature]

FEATURES: Sequence[MakeFeature] = (Restarts, Resizes, Preflight)
"""All that the agent does for pods."""


def pods_of(node: str, client: ApiClient, metrics: Metrics) -> Informer[LocalPod]:
    """A copy of the pods that are bound to *node*."""
    return Informer(client, LOCAL_PODS, metrics, selection=Selection(fields={"spec.nodeName": node}))


class PodSide:
    """Follows the pods of one node and runs what acts on them."""

    def __init__(self, around: PodSurroundings, features: Sequence[MakeFeature] = FEATURES) -> None:
        self.pods = around.pods
        self._journal = around.journal
        self._features = tuple(make(around) for make in features)
        self._started = False

    async def begin(self) -> None:
        """Start to work as soon as all pods are known."""
        await self.pods.synced()
        self.pods.on_change(self._journal.take)
        for feature in self._features:
            feature.start()
        self._started = True

    def view(self) -> PodsView:
        """What changes in place on this node."""
        if not self._started:
            return PodsView(problem="the pods of the node are not known yet")
        told = PodsView(restarts=tuple(self._journal.restarts), errors=tuple(self._journal.errors))
        return bounded(joined((*(each.view() for each in self._features), told)))

    def wake(self) -> None:
        """Look anew at what is to be done."""
        if self._started:
            for feature in self._features:
                feature.wake()

    @property
    def feeders(self) -> Sequence[Part]:
        """What runs until it is cancelled. Without a feature, nothing is followed."""
        if not self._features:
            return ()
        return (self.pods.run, self.begin, *chain.from_iterable(each.feeders for each in self._features))

    @property
    def workers(self) -> Sequence[Part]:
        """What ends by itself when the queues are closed."""
        return tuple(chain.from_iterable(each.workers for each in self._features))

    @property
    def queues(self) -> Sequence[Closable]:
        """What is closed to end the workers."""
        return tuple(chain.from_iterable(each.queues for each in self._features))
