"""What fails around and in an installed release, and what must be true after it."""

import asyncio
import os
import random
import signal
from typing import Any, Final

from tests.integration.looking import fetched
from tests.integration.releases import JOBS, ended, job, restarts
from tests.testbed.cluster_fixtures import InstallAnew
from tests.testbed.product import Installation
from tests.testbed.pushing import Image, ImageMaker

OUTAGE: Final = 60.0
KILLS: Final = 30
TAKEOVER: Final = 20.0
QUICK_RESTARTS: Final = {"crashLoopBackOff": {"maxContainerRestartPeriod": "1s"}}
"""The kubelet's back-off would make thirty kills last an hour."""
LEASE: Final = "/apis/coordination.k8s.io/v1/namespaces/inplaced/leases/inplaced-controller"


async def images_of(release: Installation, count: int, size: int) -> list[Image]:
    """New images in the cluster's registry."""
    maker = ImageMaker(release.cluster.registry, "faults")
    return [await maker.make_random(f"app{number}", size + number) for number in range(count)]


async def pod_of(release: Installation, component: str) -> dict[str, Any]:
    """One running pod of the agent or the controller, by chance."""
    path = (
        f"/api/v1/namespaces/{release.namespace}/pods?labelSelector=app.kubernetes.io/component={component}"
    )
    pods = (await release.cluster.api.get(path))["items"]
    chosen: dict[str, Any] = random.choice(pods)
    return chosen


async def kill(release: Installation, pod: dict[str, Any]) -> None:
    """End the main process of *pod*, as the kernel does when memory is short."""
    identifier = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    for line in (await release.cluster.containerd.ctr("tasks", "ls")).splitlines():
        if line.startswith(identifier):
            os.kill(int(line.split()[1]), signal.SIGKILL)


async def test_a_minute_without_the_api_server_loses_and_repeats_nothing(install_anew: InstallAnew) -> None:
    release = await install_anew()
    api = release.cluster.api
    made = await images_of(release, 8, 12_000_000)
    await api.apply(*(job(f"job-{number}", image) for number, image in enumerate(made)))

    await release.cluster.control_plane.stop_apiserver()
    await asyncio.sleep(OUTAGE)  # The fault itself, not a wait for something.
    await release.cluster.control_plane.start_apiserver()

    ends = [await ended(api, f"job-{number}") for number in range(len(made))]
    assert [(end["succeeded"], end["failed"]) for end in ends] == [(1, 0)] * len(made)
    for image in made:
        blobs = fetched(release.cluster.registry, image.repository)
        assert len(blobs) == len(set(blobs)), "pulled once"
    assert [count for name, count in (await restarts(release)).items() if "agent" in name] == [0]


async def test_a_restart_of_etcd_is_outlived(install_anew: InstallAnew) -> None:
    release = await install_anew()
    api = release.cluster.api
    made = await images_of(release, 8, 4_000_000)
    await api.apply(*(job(f"job-{number}", image) for number, image in enumerate(made)))

    await release.cluster.control_plane.restart_etcd()

    ends = [await ended(api, f"job-{number}") for number in range(len(made))]
    assert [(end["succeeded"], end["failed"]) for end in ends] == [(1, 0)] * len(made)


async def test_a_killed_leader_is_followed_by_the_other_in_time(install_anew: InstallAnew) -> None:
    release = await install_anew()
    api = release.cluster.api
    (image,) = await images_of(release, 1, 100_000)
    leader = (await api.get(LEASE))["spec"]["holderIdentity"]

    await kill(release, await api.get(f"/api/v1/namespaces/{release.namespace}/pods/{leader}"))
    await api.apply(job("job", image))

    async with asyncio.timeout(TAKEOVER):
        assert (await ended(api, "job"))["succeeded"] == 1


async def test_jobs_end_right_while_agents_and_controllers_are_killed(install_anew: InstallAnew) -> None:
    release = await install_anew(kubelet_settings=QUICK_RESTARTS)
    api = release.cluster.api
    made = await images_of(release, KILLS, 3_000_000)

    for number, image in enumerate(made):
        await api.request("POST", JOBS, job(f"job-{number}", image))
        await kill(release, await pod_of(release, "agent" if number % 2 else "controller"))
        await release.ready()

    ends = [await ended(api, f"job-{number}") for number in range(KILLS)]
    assert [(end["desired"], end["succeeded"], end["failed"]) for end in ends] == [(1, 1, 0)] * KILLS
    assert sum((await restarts(release)).values()) >= KILLS // 2, "they were killed indeed"
