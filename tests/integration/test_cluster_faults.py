"""What fails around and in an installed release, and what must be true after it.

The cluster is the module's own; each test leaves it in order for the next one.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Final

import pytest
import pytest_asyncio

from tests.integration.breaking import cut_off_every_second, is_gone, kill, kill_and_await, skewed
from tests.integration.looking import fetched
from tests.integration.releases import JOBS, ended, job, restarts
from tests.testbed.api import Api
from tests.testbed.cluster_fixtures import installation
from tests.testbed.faults import hold
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.processes import until
from tests.testbed.product import Installation
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.session import Session

OUTAGE: Final = 60.0
ROUNDS: Final = 15
"""In each of them an agent and a controller are killed."""
TAKEOVER: Final = 20.0
QUICK_RESTARTS: Final = {
    "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
    "featureGates": {"KubeletCrashLoopBackOffMax": True},
}
"""The kubelet's back-off would make thirty kills last an hour."""
LEASE: Final = "/apis/coordination.k8s.io/v1/namespaces/inplaced/leases/inplaced.controller"
NODE_IMAGES: Final = "/apis/apps.kruise.io/v1beta1/nodeimages"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def release(testbed: Session) -> AsyncIterator[Installation]:
    """The project in a cluster that is broken here."""
    async with installation(testbed, kubelet_settings=QUICK_RESTARTS) as release:
        yield release


@pytest.fixture
def api(release: Installation) -> Api:
    """As an administrator sees the cluster."""
    return release.cluster.api


@pytest.fixture
def images(release: Installation, prefix: str) -> ImageMaker:
    """Makes images in the cluster's registry."""
    return ImageMaker(release.cluster.registry, prefix)


async def some(images: ImageMaker, count: int, size: int) -> list[Image]:
    """New images, each of its own."""
    return [await images.make_random(f"app{number}", size + number) for number in range(count)]


async def ask(api: Api, prefix: str, made: Sequence[Image]) -> None:
    """One job an image."""
    await api.apply(*(job(f"{prefix}-{number}", image) for number, image in enumerate(made)))


async def all_is_well(release: Installation, prefix: str, made: Sequence[Image]) -> None:
    """Every job ended with its image on the node, and all pods are ready."""
    for number in range(len(made)):
        end = await ended(release.cluster.api, f"{prefix}-{number}")
        told = {name: end.get(name) for name in ("desired", "succeeded", "failed", "active")}
        assert told == {"desired": 1, "succeeded": 1, "failed": 0, "active": 0}
    there = await release.cluster.containerd.ctr("images", "ls", "-q")
    assert {image.ref for image in made} <= set(there.split())
    await release.ready()


def each_was_fetched_once(release: Installation, made: Sequence[Image]) -> None:
    """No blob of any of them was asked for twice."""
    for image in made:
        blobs = fetched(release.cluster.registry, image.repository)
        assert len(blobs) == len(set(blobs)) > 0


async def over(api: Api, prefix: str) -> set[int]:
    """The numbers of the jobs that have ended."""
    jobs = (await api.get(JOBS))["items"]
    names = [each["metadata"]["name"] for each in jobs if each.get("status", {}).get("completionTime")]
    return {int(name.rpartition("-")[2]) for name in names if name.startswith(f"{prefix}-")}


async def leader_of(api: Api) -> str:
    """The pod that leads."""
    return str((await api.get(LEASE))["spec"].get("holderIdentity", ""))


async def test_a_minute_without_the_api_server_loses_and_repeats_nothing(
    release: Installation, api: Api, images: ImageMaker, prefix: str
) -> None:
    made, before = await some(images, 8, 12_000_000), await restarts(release)
    await ask(api, prefix, made)

    await release.cluster.control_plane.stop_apiserver()
    await asyncio.sleep(OUTAGE)  # The fault itself, not a wait for something.
    await release.cluster.control_plane.start_apiserver()

    await all_is_well(release, prefix, made)
    each_was_fetched_once(release, made)
    assert await restarts(release) == before


async def test_a_restart_of_etcd_is_outlived(
    release: Installation, api: Api, images: ImageMaker, prefix: str
) -> None:
    made, before = await some(images, 8, 4_000_000), await restarts(release)
    await ask(api, prefix, made)

    await release.cluster.control_plane.restart_etcd()

    await all_is_well(release, prefix, made)
    each_was_fetched_once(release, made)
    assert await restarts(release) == before


async def test_connections_that_break_every_second_lose_nothing(
    release: Installation, api: Api, images: ImageMaker, prefix: str
) -> None:
    made, before = await some(images, 12, 1_000_000), await restarts(release)

    async with cut_off_every_second(release) as cut:
        for number, image in enumerate(made):
            await api.request("POST", JOBS, job(f"{prefix}-{number}", image))
            await asyncio.sleep(0.7)  # So that something is under way whenever they break.
        await all_is_well(release, prefix, made)

    each_was_fetched_once(release, made)
    assert sum(cut) >= len(cut) > 5
    assert await restarts(release) == before


async def test_a_killed_leader_is_followed_by_the_other_in_time(
    release: Installation, api: Api, images: ImageMaker, prefix: str
) -> None:
    made = await some(images, 1, 100_000)
    leader = await leader_of(api)

    await kill(release, await api.get(f"/api/v1/namespaces/{release.namespace}/pods/{leader}"))
    killed = time.monotonic()
    await ask(api, prefix, made)
    await ended(api, f"{prefix}-0")

    assert time.monotonic() - killed < TAKEOVER
    await all_is_well(release, prefix, made)
    each_was_fetched_once(release, made)


async def test_jobs_end_right_while_agents_and_controllers_are_killed(
    release: Installation, api: Api, images: ImageMaker, prefix: str
) -> None:
    made, before = await some(images, 2 * ROUNDS, 3_000_000), await restarts(release)
    done: dict[int, list[str]] = {}

    for number in range(ROUNDS):
        for one in (2 * number, 2 * number + 1):
            await api.request("POST", JOBS, job(f"{prefix}-{one}", made[one]))
        await kill_and_await(release, "agent", "controller")
        for one in await over(api, prefix) - done.keys():
            done[one] = fetched(release.cluster.registry, made[one].repository)

    await all_is_well(release, prefix, made)
    assert done
    assert {one: fetched(release.cluster.registry, made[one].repository) for one in done} == done
    assert sum((await restarts(release)).values()) - sum(before.values()) == 2 * ROUNDS


async def test_a_node_whose_clock_is_wrong_ends_its_jobs_in_the_servers_time(
    release: Installation, api: Api, images: ImageMaker, prefix: str
) -> None:
    made = await some(images, 2, 500_000)
    policy = {"type": "Always", "activeDeadlineSeconds": 60, "ttlSecondsAfterFinished": 600}
    for number, minutes in enumerate((5, -5)):
        await release.install(skewed(f"{minutes:+}m"))
        clock = await api.kubectl("exec", "-n", release.namespace, "ds/inplaced-agent", "--", "date", "+%s")
        assert abs(int(clock) - time.time() - 60 * minutes) < 10

        await api.apply(job(f"{prefix}-{number}", made[number], completionPolicy=policy))
        await ended(api, f"{prefix}-{number}")

        node_image = await api.get(f"{NODE_IMAGES}/{release.cluster.node}")
        (tag,) = node_image["status"]["imageStatuses"][made[number].name]["tags"]
        told = datetime.fromisoformat(tag["completionTime"])
        assert abs((datetime.now(UTC) - told).total_seconds()) < 30

    await release.install()
    await all_is_well(release, prefix, made)


async def test_a_node_that_is_removed_during_a_pull_drops_it_and_is_served_when_it_is_back(
    release: Installation, api: Api, prefix: str
) -> None:
    cluster = release.cluster
    registry = FaultyRegistry(cluster.addresses.node)
    await registry.start()
    try:
        image = await ImageMaker(registry, prefix).make_random("app", 4_000_000)
        held = registry.go_wrong(hold(1_000_000))
        await api.apply(job(prefix, image, completionPolicy={"type": "Never"}))
        await asyncio.wait_for(held.held.wait(), 30.0)

        await api.request("DELETE", f"/api/v1/nodes/{cluster.node}")
        await until(lambda: is_gone(api, f"{NODE_IMAGES}/{cluster.node}"), timeout=10.0, what="no NodeImage")
        await api.kubectl(
            "wait", "--for=jsonpath={.status.desired}=0", f"imagepulljob/{prefix}", "--timeout=30s"
        )
        registry.recover()
        await cluster.kubelet.stop()
        cluster.kubelet.start()

        await api.kubectl(
            "wait", "--for=jsonpath={.status.succeeded}=1", f"imagepulljob/{prefix}", "--timeout=60s"
        )
        await release.ready()
    finally:
        await registry.stop()
    assert image.ref in await cluster.containerd.ctr("images", "ls", "-q")


async def test_it_is_changed_and_removed_as_helm_does(
    release: Installation, api: Api, images: ImageMaker, prefix: str
) -> None:
    image = await images.make_random("app", 100_000)
    await api.apply(job(prefix, image, completionPolicy={"type": "Never"}))

    await release.install({"controller": {"replicas": 1}})
    await release.uninstall()

    left = json.loads(await api.kubectl("get", "all", "--namespace", release.namespace, "-o", "json"))
    assert left["items"] == []
    assert (await api.get(f"{JOBS}/{prefix}"))["spec"]["image"] == image.ref, "kinds outlive the release"
