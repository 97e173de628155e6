"""All that stops containers of the node's pods, as one feature: who wants the same one stopped waits."""

from collections.abc import Sequence
from itertools import chain

from daemon.debug.views import PodsView
from daemon.engine.lifecycle import Closable, Part
from daemon.localpods.sights import joined
from daemon.localpods.surroundings import PodFeature, PodSurroundings
from daemon.restarts.drift import DriftRestarts
from daemon.restarts.recreate_feature import RecreateFeature
from daemon.restarts.stopping import Stopper


class Restarts:
    """Restarts for changed labels and annotations, and restarts on request. Implements PodFeature."""

    def __init__(self, around: PodSurroundings) -> None:
        stopper = Stopper(around)
        self._parts: Sequence[PodFeature] = (DriftRestarts(around, stopper), RecreateFeature(around, stopper))

    @property
    def feeders(self) -> Sequence[Part]:
        """What runs until it is cancelled."""
        return tuple(chain.from_iterable(each.feeders for each in self._parts))

    @property
    def workers(self) -> Sequence[Part]:
        """What ends by itself when the queues are closed."""
        return tuple(chain.from_iterable(each.workers for each in self._parts))

    @property
    def queues(self) -> Sequence[Closable]:
        """What is closed to end the workers."""
        return tuple(chain.from_iterable(each.queues for each in self._parts))

    def start(self) -> None:
        """Begin to follow the pods."""
        for each in self._parts:
            each.start()

    def view(self) -> PodsView:
        """What the journal does not know: which containers wait to be stopped on request."""
        return joined(each.view() for each in self._parts)

    def wake(self) -> None:
        """Look anew at what is to be done."""
        for each in self._parts:
            each.wake()
