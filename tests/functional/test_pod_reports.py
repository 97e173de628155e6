"""What an agent says of a pod whose newest version it does not know yet."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from daemon.engine.objects import ConflictError, NotFoundError
from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.kube.pod_reports import PodReports
from daemon.kube.resources import LOCAL_PODS
from daemon.metrics import Metrics
from daemon.objects.local_pods import LocalPod, LocalPodCondition
from daemon.objects.meta import Key
from daemon.pod_side import pods_of
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import FakeApiServer

PLANNED = "inplaced.dev/planned-restarts"
COUNTED = "inplaced.dev/planned-restarts-counted"
REPLACED = "inplaced.dev/replaced-containers"
GATE = "InPlaceUpdateReady"
KEY = Key("shop", "web")


@dataclass
class Late:
    """Reports of an agent whose watch does not get on."""

    server: FakeApiServer
    client: ApiClient
    reports: PodReports

    async def store(self, before: LocalPod | None = None, **annotations: str) -> LocalPod:
        """The pod as it is from now on, the same as *before* if given; its agent does not learn that."""
        every = {f"inplaced.dev/{key.replace('_', '-')}": text for key, text in annotations.items()}
        metadata: dict[str, Any] = {"name": "web", "namespace": "shop", "annotations": every}
        if before is not None:
            metadata["uid"] = before.metadata.uid
        statuses = [{"name": name, "containerID": f"containerd://{name}2"} for name in ("app", "log")]
        document = {
            "metadata": metadata,
            "spec": {"nodeName": "n", "containers": [], "readinessGates": [{"conditionType": GATE}]},
            "status": {"containerStatuses": statuses},
        }
        self.server.store("pods", document)
        return await self.client.get(LOCAL_PODS, KEY)

    @property
    def annotations(self) -> Mapping[str, Any]:
        """As they are stored, read."""
        stored = self.server.document("pods", "web", "shop")["metadata"].get("annotations", {})
        return {key: json.loads(text) for key, text in stored.items()}


@pytest.fixture
async def late() -> AsyncIterator[Late]:
    metrics = Metrics()
    async with FakeApiServer() as server, ApiClient(Fixed(server.url), metrics, deadline=5.0) as client:
        yield Late(server, client, PodReports(client, pods_of("n", client, metrics)))


async def test_a_stop_is_counted_beside_what_the_controller_has_counted_meanwhile(late: Late) -> None:
    known = await late.store(replaced_containers='{"app":"containerd://app1"}')
    await late.store(
        known, planned_restarts='{"app":1}', planned_restarts_counted='{"app":"containerd://app1"}'
    )

    await late.reports.tell(known, stopped={"log": "containerd://log2"})

    assert late.annotations == {
        PLANNED: {"app": 1, "log": 1},
        COUNTED: {"app": "containerd://app1", "log": "containerd://log2"},
    }


async def test_what_an_update_replaced_is_no_mark_of_the_next_update(late: Late) -> None:
    known = await late.store(replaced_containers='{"app":"containerd://app1"}')
    await late.store(
        known,
        replaced_containers='{"app":"containerd://app2"}',
        planned_restarts='{"app":1}',
        planned_restarts_counted='{"app":"containerd://app1"}',
    )

    await late.reports.tell(known, annotations={REPLACED: None}, stopped={"app": "containerd://app1"})

    assert late.annotations[REPLACED] == {"app": "containerd://app2"}
    assert late.annotations[PLANNED] == {"app": 1}


async def test_conditions_alone_are_told_in_one_write_whatever_happened_meanwhile(late: Late) -> None:
    known = await late.store()
    await late.store(known, planned_restarts='{"app":1}')
    before = late.server.writes

    await late.reports.tell(known, [LocalPodCondition(type="T", status="True")])

    assert [each["type"] for each in late.server.document("pods", "web", "shop")["status"]["conditions"]] == [
        "T"
    ]
    assert late.server.writes - before == {"patch pods/status": 1}


async def test_of_another_pod_of_the_name_nothing_is_counted(late: Late) -> None:
    known = await late.store()
    late.server.remove("pods", "web", "shop")
    await late.store()

    with pytest.raises(ConflictError):
        await late.reports.tell(known, stopped={"app": "containerd://app1"})

    assert late.annotations == {}


async def test_of_a_pod_that_is_gone_nothing_is_counted(late: Late) -> None:
    known = await late.store()
    late.server.remove("pods", "web", "shop")

    with pytest.raises(NotFoundError):
        await late.reports.tell(known, stopped={"app": "containerd://app1"})


async def test_a_pod_that_changes_all_the_time_is_left_to_be_decided_on_anew(late: Late) -> None:
    known = await late.store()
    late.server.fail(Fault(verb="patch", resource="pods/status", status=409, times=1000))

    with pytest.raises(ConflictError):
        await late.reports.tell(known, stopped={"app": "containerd://app1"})
