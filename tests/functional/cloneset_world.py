"""CloneSets on a fake API server, with the real controller and a simulated kubelet."""

import copy
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from daemon import names
from daemon.engine.clock import SystemClock
from daemon.inplace.announcing import Announcing
from daemon.inplace.updates import PodUpdates
from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.events import EventPace, EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import CLUSTER_NODE_IMAGES, CLUSTER_PODS, IMAGE_PULL_JOBS
from daemon.localpods.indexes import POD_INDEXES
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.assembly import CloneSetController, Surroundings
from daemon.workloads.clonesets.upcoming import Upcoming
from tests.fakes.apiserver import WRITES, FakeApiServer
from tests.fakes.apistorage import Document
from tests.fakes.following import following, running
from tests.fakes.kubelet import SimulatedKubelet

NAMESPACE = "shop"
LABELS = {"app": "web"}
Spec = dict[str, Any]
Alive = Callable[[str], bool]
"""Whether the agent of that node gives signs of life."""


def _always(_node: str) -> bool:
    return True


def spec(replicas: int = 3, image: str = "app:1", **parts: Any) -> Spec:
    """The spec of a CloneSet with one container."""
    template = {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "app", "image": image}]},
    }
    return {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template, **parts}


@dataclass(slots=True)
class CloneSetWorld:
    """A cluster with one namespace in it."""

    server: FakeApiServer
    kubelet: SimulatedKubelet
    metrics: Metrics
    known: Informer[LocalPod]
    sets: Informer[CloneSet]
    """The pods and the sets as the controller knows them."""

    def apply(self, document: Spec, name: str = "web", **metadata: Any) -> None:
        """Write a CloneSet as a person would."""
        meta = {"name": name, "namespace": NAMESPACE, **metadata}
        self.server.store("clonesets", {"metadata": meta, "spec": copy.deepcopy(document)})

    def change(self, name: str = "web", **parts: Any) -> None:
        """Change parts of its spec."""
        self._edit("clonesets", name, lambda it: it["spec"].update(parts))

    def set_image(self, image: str, name: str = "web") -> None:
        """Have its container run another image."""
        template = copy.deepcopy(self.stored(name)["spec"]["template"])
        template["spec"]["containers"][0]["image"] = image
        self.change(name, template=template)

    def stored(self, name: str = "web") -> Document:
        """The set as it is stored."""
        return self.server.document("clonesets", name, NAMESPACE)

    def status(self, name: str = "web") -> Mapping[str, Any]:
        """What it says."""
        found: Mapping[str, Any] = self.stored(name).get("status", {})
        return found

    def condition(self, type_: str, name: str = "web") -> Mapping[str, Any]:
        """One of its conditions; empty without."""
        return next((each for each in self.status(name).get("conditions", ()) if each["type"] == type_), {})

    def pods(self) -> list[Document]:
        """All pods that are stored, by name."""
        found = self.server.storage.of("pods")
        return [found[name] for name in sorted(found)]

    def images(self) -> list[str]:
        """What the pods' containers are to run."""
        return sorted(pod["spec"]["containers"][0]["image"] for pod in self.pods())

    def uids(self) -> set[str]:
        """The pods' UIDs."""
        return {pod["metadata"]["uid"] for pod in self.pods()}

    def patch_pod(self, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        """Change a pod as somebody else would."""
        self._edit("pods", name, change)

    def end_pod(self, name: str) -> None:
        """Take the finalizers off a pod that is being deleted."""
        document = dict(self.server.document("pods", name, NAMESPACE))
        metadata = {key: each for key, each in document["metadata"].items() if key != "finalizers"}
        kind = self.server.kinds["pods"]
        self.server.storage.update(kind, (NAMESPACE, name), {**document, "metadata": metadata}, status=False)

    def _edit(self, plural: str, name: str, change: Callable[[dict[str, Any]], object]) -> None:
        document = copy.deepcopy(dict(self.server.document(plural, name, NAMESPACE)))
        document.pop("status", None)
        del document["metadata"]["resourceVersion"]
        change(document)
        self.server.store(plural, document)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return when *holds* is true."""
        await self.server.until(holds)

    async def settled(self, name: str = "web") -> Mapping[str, Any]:
        """Wait until the set is ready in its newest form, and return its status."""
        await self.until(lambda: self.is_settled(name))
        return self.status(name)

    def is_settled(self, name: str = "web") -> bool:
        """Whether it says so."""
        ready = self.condition(names.READY, name)
        newest = self.stored(name)["metadata"]["generation"]
        return ready.get("status") == "True" and ready.get("observedGeneration") == newest

    def events(self) -> list[tuple[str, str]]:
        """Reason and note of each event that was written."""
        return [(each["reason"], each["note"]) for each in self.server.storage.of("events").values()]

    def writes(self) -> list[str]:
        """Verb and resource of the controller's writes."""
        return [
            f"{each.verb} {each.resource}"
            for each in self.server.requests
            if each.verb in WRITES
            and each.headers.get("User-Agent") == "inplaced"
            and "dryRun" not in each.query
        ]


@asynccontextmanager
async def controlling(
    server: FakeApiServer, metrics: Metrics, *, prepare: bool = False, alive: Alive = _always
) -> AsyncIterator[tuple[Informer[LocalPod], Informer[CloneSet]]]:
    """A leader's part for CloneSets until the end of the block."""
    clock = SystemClock()
    async with ApiClient(Fixed(server.url), metrics, user_agent="inplaced", deadline=5.0) as client:
        pods = Informer(client, CLUSTER_PODS, metrics, indexes=POD_INDEXES)
        pace = EventPace(burst=1000.0, rate=1000.0)
        recorder = EventRecorder(client, metrics, clock, controller="inplaced.dev/c", instance="c", pace=pace)
        record = partial(recorder.record, CLUSTER_PODS)
        updates = PodUpdates(client, pods, metrics, clock, record=record, agent_alive=alive)
        jobs = Informer(client, IMAGE_PULL_JOBS, metrics)
        images = Informer(client, CLUSTER_NODE_IMAGES, metrics)
        announcing = Announcing(
            *(client, pods, KubeObjects(client, jobs), clock),
            node_image=lambda node: images.get(Key("", node)),
        )
        upcoming = Upcoming(announcing, alive, images, clock)
        controller = CloneSetController(
            Surroundings(
                client=client,
                version="v1beta1",
                pods=pods,
                updates=updates,
                upcoming=upcoming if prepare else None,
                recorder=recorder,
                metrics=metrics,
                clock=clock,
            )
        )
        async with following(pods, jobs, images, *controller.informers):
            controller.watch()
            parts = [each.run() for each in controller.controllers]
            async with running(recorder.run(), *parts):
                yield pods, controller.sets


@dataclass(frozen=True, slots=True)
class Cluster:
    """An API server with a kubelet, and one controller after the other."""

    server: FakeApiServer
    kubelet: SimulatedKubelet

    @asynccontextmanager
    async def led(self, *, prepare: bool = False, alive: Alive = _always) -> AsyncIterator[CloneSetWorld]:
        """A controller until the end of the block, which it does not see coming."""
        metrics = Metrics()
        async with controlling(self.server, metrics, prepare=prepare, alive=alive) as known:
            yield CloneSetWorld(self.server, self.kubelet, metrics, *known)

    async def killed_in_write(self, number: int, world_change: Callable[[CloneSetWorld], None]) -> None:
        """Have somebody change something, and the controller die while its write *number* is on its way."""
        before = self.writes()
        async with self.led() as world:
            world_change(world)
            await world.until(lambda: self.writes() - before >= number or world.is_settled())

    def writes(self) -> int:
        """The controllers' writes that arrived, whatever became of them."""
        return sum(
            each.verb in WRITES and each.headers.get("User-Agent") == "inplaced" and each.resource != "events"
            for each in self.server.requests
        )


@asynccontextmanager
async def unled(**kubelet: Any) -> AsyncIterator[Cluster]:
    """A cluster that nobody controls yet."""
    async with (
        FakeApiServer() as server,
        ApiClient(Fixed(server.url), Metrics(), user_agent="kubelet", deadline=5.0) as client,
        SimulatedKubelet(client, **kubelet).playing() as kubelet_,
    ):
        yield Cluster(server, kubelet_)


@asynccontextmanager
async def cloneset_world(
    *, prepare: bool = False, alive: Alive = _always, **kubelet: Any
) -> AsyncIterator[CloneSetWorld]:
    """A cluster that runs what it is told; with *prepare*, pods are told of rollouts beforehand."""
    async with unled(**kubelet) as cluster, cluster.led(prepare=prepare, alive=alive) as world:
        yield world
