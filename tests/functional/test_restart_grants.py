"""The controller lets pods of one owner restart, beside an API server that refuses and is overtaken."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from daemon.engine.clock import SystemClock
from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.informer import Informer
from daemon.kube.resources import CLUSTER_PODS
from daemon.localpods.indexes import POD_INDEXES
from daemon.metrics import Metrics
from daemon.objects.container_hashes import fingerprint
from daemon.objects.running_containers import RunningContainer, told_of
from daemon.restartgrants.reconciler import RestartGrants
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import FakeApiServer
from tests.fakes.following import following, running

GRANT = "inplaced.dev/restart-granted"
OWNER = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "w", "controller": True}
DIGEST = f"sha256:{'a' * 64}"


def told(container: str, colour: str) -> Any:
    """What the agent says of what runs."""
    running = RunningContainer(id=f"containerd://{container}", metadata=fingerprint({"COLOUR": colour}))
    return msgspec.to_builtins(told_of({"app": running}))


@dataclass
class Centre:
    """What is stored, and who decides."""

    server: FakeApiServer

    def store(self, name: str, *, colour: str = "red", runs: str = "red", restarted: bool = False) -> None:
        """A ready pod of the one owner, as its agent told it."""
        source = {"fieldRef": {"fieldPath": "metadata.annotations['colour']"}}
        ended = {"terminated": {"finishedAt": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}}
        annotations = {
            "colour": colour,
            "inplaced.dev/restart-on-metadata-change": "true",
        }
        metadata = {"name": name, "namespace": "shop", "annotations": annotations, "ownerReferences": [OWNER]}
        env = [{"name": "COLOUR", "valueFrom": source}]
        container = {"name": "app", "image": "repo.test/app:v1", "env": env}
        status = {
            "name": "app",
            "containerID": f"containerd://{name}",
            "imageID": f"repo.test/app@{DIGEST}",
            "restartCount": int(restarted),
            **({"lastState": ended} if restarted else {}),
        }
        self.server.store(
            "pods",
            {
                "metadata": metadata,
                "spec": {"nodeName": "node-7", "containers": [container]},
                "status": {
                    "conditions": [{"type": "Ready", "status": "True"}, told(name, runs)],
                    "containerStatuses": [status],
                },
            },
        )

    def pod(self, name: str) -> Mapping[str, Any]:
        """As it is stored."""
        return self.server.document("pods", name, "shop")

    def grant(self, name: str) -> str:
        """What it is granted."""
        return str(self.pod(name)["metadata"]["annotations"].get(GRANT, ""))

    def image(self, name: str) -> str:
        """Of its container."""
        return str(self.pod(name)["spec"]["containers"][0]["image"])

    @asynccontextmanager
    async def leads(self) -> AsyncIterator[RestartGrants]:
        """One term of leading."""
        metrics = Metrics()
        async with ApiClient(Fixed(self.server.url), metrics, deadline=5.0) as client:
            pods = Informer(client, CLUSTER_PODS, metrics, indexes=POD_INDEXES)
            grants = RestartGrants(
                client, pods, metrics, SystemClock(), strategy="image-alias", debounce=0.05
            )
            async with following(pods):
                grants.watch()
                async with running(grants.controller.run()):
                    yield grants


@pytest.fixture
async def centre() -> AsyncIterator[Centre]:
    async with FakeApiServer() as server:
        yield Centre(server)


async def test_a_grant_is_one_write_of_the_status(centre: Centre) -> None:
    centre.store("web-1", colour="blue")
    writes = centre.server.writes

    async with centre.leads():
        await centre.server.until(lambda: bool(centre.grant("web-1")))

    assert json.loads(centre.grant("web-1")) == {"app": "containerd://web-1"}
    assert centre.server.writes - writes == {"patch pods/status": 1}


async def test_the_next_pod_goes_when_the_first_is_back(centre: Centre) -> None:
    centre.store("web-1", colour="blue")
    centre.store("web-2", colour="blue")

    async with centre.leads():
        await centre.server.until(lambda: bool(centre.grant("web-1")))
        assert centre.grant("web-2") == ""
        before = centre.pod("web-1")
        kept = {key: text for key, text in before["metadata"]["annotations"].items() if key != GRANT}
        metadata = {**before["metadata"], "annotations": kept}
        del metadata["resourceVersion"]
        conditions = [{"type": "Ready", "status": "True"}, told("new", "blue")]
        status = {**before["status"], "conditions": conditions}
        centre.server.store("pods", {"metadata": metadata, "spec": before["spec"], "status": status})
        await centre.server.until(lambda: bool(centre.grant("web-2")))

    assert centre.grant("web-1") == ""


async def test_a_pod_that_may_not_be_written_to_keeps_no_other_from_its_restart(centre: Centre) -> None:
    centre.store("web-1", colour="blue")
    centre.store("web-2", colour="blue")
    centre.server.fail(Fault(verb="patch", resource="pods/status", name="web-1", status=403, times=10_000))

    async with centre.leads():
        await centre.server.until(lambda: bool(centre.grant("web-2")))

    assert centre.grant("web-1") == ""


async def test_a_pod_that_may_not_be_written_to_is_tried_again_though_nothing_happens(centre: Centre) -> None:
    centre.store("web-1", colour="blue")
    centre.server.fail(Fault(verb="patch", resource="pods/status", name="web-1", status=403, times=10_000))

    async with centre.leads() as grants:
        await grants.reconcile("w")
        again_in = await grants.reconcile("w")

    assert again_in is not None
    assert 0.0 < again_in <= 60.0


async def test_a_new_leader_grants_nothing_twice(centre: Centre) -> None:
    centre.store("web-1", colour="blue")
    async with centre.leads():
        await centre.server.until(lambda: bool(centre.grant("web-1")))
    writes = centre.server.writes

    async with centre.leads():
        centre.store("web-2")
        await centre.server.until(lambda: centre.server.count("watch", resource="pods") >= 2)

    assert centre.server.writes["patch pods/status"] == writes["patch pods/status"]


async def test_a_container_that_the_kubelet_would_hold_back_gets_another_reference(centre: Centre) -> None:
    centre.store("web-1", colour="blue", restarted=True)
    writes = centre.server.writes

    async with centre.leads():
        await centre.server.until(lambda: bool(centre.grant("web-1")))

    assert centre.image("web-1") == f"repo.test/app:inplaced-restart-2@{DIGEST}"
    assert centre.server.writes - writes == {"patch pods": 1}


@pytest.mark.parametrize("status", [403, 422])
async def test_where_images_may_not_be_changed_the_container_is_stopped(centre: Centre, status: int) -> None:
    """An admission policy of somebody else may have its reasons."""
    centre.store("web-1", colour="blue", restarted=True)
    centre.server.fail(Fault(status=status, verb="patch", resource="pods", times=99))

    async with centre.leads():
        await centre.server.until(lambda: bool(centre.grant("web-1")))

    assert centre.image("web-1") == "repo.test/app:v1"


async def test_a_decision_on_a_pod_that_has_changed_is_made_anew(centre: Centre) -> None:
    centre.store("web-1", colour="blue")
    fault = centre.server.fail(Fault(status=409, verb="patch", resource="pods/status"))

    async with centre.leads():
        await centre.server.until(lambda: bool(centre.grant("web-1")))

    assert fault.met >= 1
