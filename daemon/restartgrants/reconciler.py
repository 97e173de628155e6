"""Lets pods that share an owner restart their drifted containers, a few at a time, whatever node they are on.

Agents only report what runs; what drifted is seen from that and from the pod, so that a restart begins with
the grant. The agent takes the grant away with its report.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

import structlog

from daemon import names
from daemon.engine.clock import Clock
from daemon.engine.objects import ConflictError, NotFoundError
from daemon.engine.reconciling import Controller
from daemon.kube.client import ApiClient
from daemon.kube.errors import ForbiddenError, RefusedError
from daemon.kube.informer import Informer
from daemon.kube.patches import strategic_merge_patch
from daemon.localpods.indexes import BY_CONTROLLER
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.restart_grants import grant_of
from daemon.objects.running_containers import has_moved
from daemon.restartgrants.planner import Grant, Observed, Strategy, group_of, plan

log = structlog.get_logger()

_PATIENCE = 600.0
"""Seconds until an image is changed again of a pod that the API server did not let us change."""
_BARRED = 60.0
"""Seconds until a pod is granted something again that the API server did not let us write to."""


class RestartGrants:
    """Follows the pods that have opted in, one owner at a time."""

    def __init__(
        self,
        client: ApiClient,
        pods: Informer[LocalPod],
        metrics: Metrics,
        clock: Clock,
        *,
        strategy: Strategy,
        debounce: float,
    ) -> None:
        """*pods* are indexed by controller; *debounce* is seconds before an image is changed."""
        self._client = client
        self._pods = pods
        self._clock = clock
        self._strategy: Strategy = strategy
        self._debounce = debounce
        self._settled_at: dict[str, float] = {}
        self._refused: dict[str, float] = {}
        """By UID, until when no image is changed."""
        self._barred: dict[str, float] = {}
        """By UID, until when nothing is granted."""
        self.controller: Controller[str] = Controller("restart-grants", self.reconcile, metrics, workers=4)

    def watch(self) -> None:
        """Begin to follow the pods. Called once, when all of them are known."""
        self._pods.on_change(self._on_change)
        for pod in self._pods.list():
            self._add(pod)

    def _on_change(self, before: LocalPod | None, after: LocalPod | None) -> None:
        same = before is not None and after is not None and before.metadata.uid == after.metadata.uid
        if before is not None and not same:
            self._settled_at.pop(before.metadata.uid, None)
            self._refused.pop(before.metadata.uid, None)
            self._barred.pop(before.metadata.uid, None)
        for pod in (before, after):
            if pod is not None:
                self._add(pod)
        if same and before is not None and after is not None and group_of(after) and has_moved(before, after):
            self._settled_at[after.metadata.uid] = self._clock.monotonic() + self._debounce

    def _add(self, pod: LocalPod) -> None:
        group = group_of(pod)
        if group:
            self.controller.queue.add(group)

    async def reconcile(self, owner: str) -> float | None:
        """Grant what may restart now of the pods of one owner."""
        now = self._clock.monotonic()
        self._refused = {uid: until for uid, until in self._refused.items() if until > now}
        self._barred = {uid: until for uid, until in self._barred.items() if until > now}
        pods = [pod for pod in self._pods.indexed(BY_CONTROLLER, owner) if group_of(pod)]
        made = plan(
            Observed(
                pods=pods,
                now=self._clock.now(),
                monotonic=now,
                strategy=self._strategy,
                settled_at=self._settled_at,
                refused=frozenset(self._refused),
                barred=frozenset(self._barred),
            )
        )
        given = [await self._apply(grant) for grant in made.grants]
        if not all(given):  # others may go in the place of those that may not
            return 0.0
        barred = (self._barred[pod.metadata.uid] - now for pod in pods if pod.metadata.uid in self._barred)
        again_in = min([made.again_in, *barred])
        return again_in if isfinite(again_in) else None

    async def _apply(self, grant: Grant) -> bool:
        """Write it on exactly the pod that was looked at, as it was: else it is decided anew.

        Returns whether the API server lets us.
        """
        pod = grant.pod
        try:
            told = await self._client.patch(
                self._pods.resource,
                pod.metadata.key,
                strategic_merge_patch(_document(grant)),
                subresource="" if grant.images else "status",
            )
        except NotFoundError:
            return True
        except (ForbiddenError, RefusedError) as error:
            if not grant.images:
                log.warning("restart not granted", pod=str(pod.metadata.key), error=str(error))
                self._barred[pod.metadata.uid] = self._clock.monotonic() + _BARRED
                return False
            log.warning("image left as it is", pod=str(pod.metadata.key), error=str(error))
            self._refused[pod.metadata.uid] = self._clock.monotonic() + _PATIENCE
            raise ConflictError(str(error)) from error  # decided anew: by stopping
        self._pods.learn(told)
        log.info("restart granted", pod=str(pod.metadata.key), containers=sorted(grant.containers))
        return True


def _document(grant: Grant) -> Mapping[str, Any]:
    metadata = grant.pod.metadata
    document: dict[str, Any] = {
        "metadata": {
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
            "annotations": {names.GRANT_ANNOTATION: grant_of(grant.containers)},
        }
    }
    if grant.images:
        images = [{"name": name, "image": image} for name, image in grant.images.items()]
        document["spec"] = {"containers": images}
    return document
