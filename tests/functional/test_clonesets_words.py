"""What a CloneSet's controller asks the API server anew, instead of going by what it was told before."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from daemon import names
from daemon.engine.clock import Clock, SystemClock
from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.events import EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.resources import CLONE_SETS, CLUSTER_PODS, CONTROLLER_REVISIONS, VOLUME_CLAIMS
from daemon.localpods.indexes import BY_CONTROLLER, POD_INDEXES
from daemon.metrics import Metrics
from daemon.objects.meta import Key
from daemon.workloads.clonesets.claiming import Claiming, controllers_of, uncontrolled
from daemon.workloads.clonesets.pod_writes import PodWrites
from daemon.workloads.clonesets.revision_writes import JUDGED_AGAIN, Histories
from daemon.workloads.clonesets.settings import settings_of
from daemon.workloads.clonesets.surroundings import UNCONTROLLED, SetSurroundings
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.clock import FakeClock
from tests.fakes.following import following
from tests.functional.cloneset_world import LABELS, NAMESPACE, spec

WEB = Key(NAMESPACE, "web")


@asynccontextmanager
async def around(server: FakeApiServer, clock: Clock) -> AsyncIterator[SetSurroundings]:
    """What the parts of the controller work with; there is the set ``web``."""
    server.store("clonesets", {"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": spec(1)})
    metrics, kind, owned = Metrics(), CLONE_SETS.served_as("v1beta1"), {BY_CONTROLLER: controllers_of}
    async with ApiClient(Fixed(server.url), metrics, user_agent="inplaced", deadline=5.0) as client:
        made = SetSurroundings(
            client=client,
            kind=kind,
            sets=Informer(client, kind, metrics),
            pods=Informer(client, CLUSTER_PODS, metrics, indexes=POD_INDEXES),
            revisions=Informer(
                client, CONTROLLER_REVISIONS, metrics, indexes={**owned, UNCONTROLLED: uncontrolled}
            ),
            claims=Informer(client, VOLUME_CLAIMS, metrics, indexes=owned),
            recorder=EventRecorder(client, metrics, clock, controller="inplaced.dev/c", instance="c"),
            metrics=metrics,
            clock=clock,
        )
        async with following(made.sets, made.pods, made.revisions, made.claims):
            yield made


def orphan() -> dict[str, Any]:
    """A pod that a set made and nobody controls."""
    labels = {**LABELS, names.INSTANCE_ID_LABEL: "abcde"}
    gates = [{"conditionType": names.KRUISE_POD_READY}]
    return {
        "metadata": {"name": "web-abcde", "namespace": NAMESPACE, "labels": labels},
        "spec": {"readinessGates": gates},
    }


async def adopted(change: Callable[[FakeApiServer], object]) -> bool:
    """Whether an orphan is adopted by a set to which *change* happens that is not told of yet."""
    async with FakeApiServer() as server:
        server.store("pods", orphan())
        async with around(server, SystemClock()) as parts:
            obj = parts.sets.get(WEB)
            assert obj is not None
            change(server)
            await Claiming(parts, PodWrites(parts)).claim(obj)
        return bool(server.document("pods", "web-abcde", NAMESPACE)["metadata"].get("ownerReferences"))


def _end(server: FakeApiServer) -> None:
    server.storage.delete(server.kinds["clonesets"], (NAMESPACE, "web"), "")


async def test_an_orphan_is_adopted_by_the_set_that_selects_it() -> None:
    assert await adopted(lambda _server: None)


async def test_an_orphan_is_not_adopted_by_a_set_that_is_gone_though_nobody_told() -> None:
    assert not await adopted(_end)


async def test_a_refused_template_is_tried_anew_after_a_while() -> None:
    refusing = ["no such thing here"]
    clock = FakeClock()
    async with FakeApiServer() as server:
        server.kinds["pods"] = replace(server.kinds["pods"], validate=lambda _pod: "".join(refusing))
        async with around(server, clock) as parts:
            obj = parts.sets.get(WEB)
            assert obj is not None
            histories, settings = Histories(parts), settings_of(obj)
            history = await histories.sync(obj)
            first = await histories.judge(obj, settings, history)
            refusing.clear()
            again = await histories.judge(obj, settings, history)
            clock.pass_by(JUDGED_AGAIN)
            later = await histories.judge(obj, settings, history)

    assert (first, again, later) == (first, first, None)
    assert first is not None
