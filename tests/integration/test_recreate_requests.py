"""Requests to start containers anew, on a real kubelet: each stops what it means, once, and says so."""

import asyncio
import random
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from daemon import names
from tests.testbed.cluster import Cluster
from tests.testbed.counting import condition, counter, planned
from tests.testbed.processes import until
from tests.testbed.restarting import Restarting, restarting
from tests.testbed.session import Session

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.integration]

REQUESTS = f"/apis/{names.KRUISE_API}/namespaces/default/containerrecreaterequests"
KILLS = 6


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def run(testbed: Session) -> AsyncIterator[Restarting]:
    """Agent and controller, with the rights of the chart, in a cluster without any other."""
    cluster = Cluster(testbed.new_directory("k"))
    try:
        await cluster.start()
        async with restarting(cluster) as made:
            yield made
    finally:
        await cluster.stop()
        cluster.remove()


@pytest.fixture
def name(prefix: str) -> str:
    """Of this test's pods: one of their labels, too, which is why it is short."""
    return f"again-{zlib.crc32(prefix.encode()):08x}"


async def ask(run: Restarting, pod: str, *containers: str, name: str = "", **spec: Any) -> str:
    """Post a request for these containers, and return its name."""
    named = name or f"{pod}-again"
    body = {
        "apiVersion": names.KRUISE_API,
        "kind": "ContainerRecreateRequest",
        "metadata": {"name": named},
        "spec": {"podName": pod, "containers": [{"name": each} for each in containers or ("app",)], **spec},
    }
    await run.api.request("POST", REQUESTS, body)
    return named


async def status(run: Restarting, name: str) -> Mapping[str, Any]:
    """What the request says."""
    found: Mapping[str, Any] = (await run.api.get(f"{REQUESTS}/{name}")).get("status", {})
    return found


async def completed(run: Restarting, name: str, timeout: float = 30.0) -> Mapping[str, Any]:
    """The status at the request's end."""

    async def is_so() -> bool:
        return (await status(run, name)).get("phase") == "Completed"

    try:
        await until(is_so, timeout=timeout, what=f"request {name} to end", pause=0.02)
    except Exception as error:
        told = await status(run, name)
        raise AssertionError(f"{error}\n{told}\n{run.agent.log[-3000:]}") from error
    return await status(run, name)


def phases(told: Mapping[str, Any]) -> dict[str, str]:
    return {each["name"]: each["phase"] for each in told["containerRecreateStates"]}


async def started(run: Restarting, name: str, **changes: Any) -> dict[str, Any]:
    """A new pod whose containers are ready, and listen to signals."""
    await run.create(name, **changes)

    def all_ready(pod: dict[str, Any]) -> bool:
        told = pod["status"].get("containerStatuses", ())
        asked = [each["name"] for each in pod["spec"]["containers"]]
        return sum(each["ready"] for each in told) == len(asked) and all(
            run.starts(pod, each) for each in asked
        )

    return await run.until(name, all_ready, "ready")


def once_counted(container: str) -> dict[str, Any]:
    """A probe that holds as soon as the container has counted its start, and listens to signals."""
    starts, stops = (
        f"busybox cat /count/{container}-{each} 2>&- | busybox wc -l" for each in ("starts", "terms")
    )
    return {"exec": {"command": ["sh", "-c", f"test $({starts}) -gt $({stops})"]}, "periodSeconds": 1}


async def test_the_container_is_stopped_once_and_its_successor_waited_for(run: Restarting, name: str) -> None:
    pod = await started(run, name)

    told = await completed(run, await ask(run, name))

    assert told["message"] == "1 of 1 containers recreated"
    assert phases(told) == {"app": "Succeeded"}
    assert told["containerRecreateStates"][0]["isKilled"] is True
    assert (len(run.starts(pod)), len(run.terms(pod))) == (2, 1)
    now = await run.pod(name)
    assert now["metadata"]["uid"] == pod["metadata"]["uid"]
    assert now["metadata"]["annotations"][names.PLANNED_RESTARTS_ANNOTATION] == '{"app":1}'
    await run.delete(name)


async def test_all_containers_are_stopped_at_the_same_time(run: Restarting, name: str) -> None:
    pod = await started(run, name, containers=[counter("proxy", run.image.ref)])

    told = await completed(run, await ask(run, name, "app", "proxy"))

    assert phases(told) == {"app": "Succeeded", "proxy": "Succeeded"}
    last_stop = max(*run.terms(pod), *run.terms(pod, "proxy"))
    assert last_stop < min(run.starts(pod)[1].at, run.starts(pod, "proxy")[1].at)
    await run.delete(name)


async def test_ordered_ones_wait_until_the_one_before_is_ready(run: Restarting, name: str) -> None:
    proxy = {**counter("proxy", run.image.ref), "readinessProbe": once_counted("proxy")}
    pod = await started(run, name, containers=[proxy])

    await completed(run, await ask(run, name, "proxy", "app", strategy={"orderedRecreate": True}))

    assert run.starts(pod, "proxy")[1].at <= run.terms(pod)[0]
    await run.delete(name)


async def test_the_pod_s_own_hook_runs_first(run: Restarting, name: str) -> None:
    words = ["sh", "-c", "busybox awk '{print $1}' /proc/uptime >> /count/app-hooks; sleep 1"]
    pod = await started(run, name, container={"lifecycle": {"preStop": {"exec": {"command": words}}}})

    await completed(run, await ask(run, name))

    (hook,) = [float(line) for line in run.lines(pod, "app-hooks")]
    (stopped,) = run.terms(pod)
    assert stopped - hook >= 1.0
    await run.delete(name)


async def test_a_request_of_a_pod_begins_when_the_one_before_has_ended(run: Restarting, name: str) -> None:
    probe = {"readinessProbe": once_counted("app")}
    pod = await started(run, name, container=probe, containers=[counter("proxy", run.image.ref)])

    first = await ask(run, name, "app", name=f"{name}-1")
    second = await ask(run, name, "proxy", name=f"{name}-2")
    await completed(run, second)

    assert phases(await completed(run, first)) == {"app": "Succeeded"}
    assert run.starts(pod)[1].at <= run.terms(pod, "proxy")[0]
    await run.delete(name)


async def test_what_is_not_ready_in_time_is_told_and_the_rest_left_alone(run: Restarting, name: str) -> None:
    once = ["sh", "-c", "test $(busybox wc -l < /count/app-starts) = 1"]
    probe = {"exec": {"command": once}, "periodSeconds": 1}
    pod = await started(
        run, name, container={"readinessProbe": probe}, containers=[counter("proxy", run.image.ref)]
    )

    asked = await ask(run, name, "app", "proxy", activeDeadlineSeconds=3, strategy={"orderedRecreate": True})
    told = await completed(run, asked)

    late = "recreating took longer than activeDeadlineSeconds: 3"
    assert [each["message"] for each in told["containerRecreateStates"]] == [
        f"stopped, but its successor was not ready: {late}",
        f"not stopped: {late}",
    ]
    assert (len(run.terms(pod)), run.terms(pod, "proxy")) == (1, [])
    await run.delete(name)


async def test_a_container_that_would_not_come_back_is_not_stopped(run: Restarting, name: str) -> None:
    pod = await started(run, name, spec={"restartPolicy": "Never"})

    told = await completed(run, await ask(run, name))

    assert told["message"] == (
        "spec.containers[0].name: app would not be started again: its restartPolicy is Never"
    )
    assert run.terms(pod) == []
    await run.delete(name)


async def test_the_pod_is_out_of_traffic_before_and_back_after(run: Restarting, name: str) -> None:
    gates = {"readinessGates": [{"conditionType": names.KRUISE_POD_READY}]}
    pod = await started(run, name, spec=gates)
    await run.until(name, lambda now: condition(now, "Ready").get("status") == "True", "in traffic")

    asked = await ask(run, name, strategy={"unreadyGracePeriodSeconds": 1})
    out = await run.until(name, lambda now: condition(now, "Ready")["status"] == "False", "out of traffic")
    before = run.terms(out)
    await completed(run, asked)
    back = await run.until(name, lambda now: condition(now, "Ready")["status"] == "True", "back in traffic")

    assert (before, len(run.terms(pod))) == ([], 1)
    assert condition(back, names.KRUISE_POD_READY).get("message", "") == ""
    await run.delete(name)


async def test_a_removed_request_is_cancelled(run: Restarting, name: str) -> None:
    gates = {"readinessGates": [{"conditionType": names.KRUISE_POD_READY}]}
    pod = await started(run, name, spec=gates)
    asked = await ask(run, name, strategy={"unreadyGracePeriodSeconds": 60})
    await run.until(
        name, lambda now: "again" in condition(now, names.KRUISE_POD_READY).get("message", ""), "out"
    )

    await run.api.request("DELETE", f"{REQUESTS}/{asked}")

    await run.until(name, lambda now: condition(now, "Ready")["status"] == "True", "back in traffic")
    assert run.terms(pod) == []
    await run.delete(name)


async def test_whoever_is_killed_meanwhile_each_is_stopped_once(run: Restarting, name: str) -> None:
    """The agent, the controller or the runtime is killed at a random moment of each request."""
    chance = random.Random(7)
    pods = [await started(run, f"{name}-{number}") for number in range(KILLS)]

    for number, pod in enumerate(pods):
        await ask(run, pod["metadata"]["name"])
        await asyncio.sleep(chance.uniform(0.0, 0.15))  # anywhere between the post and the stop
        await _kill_and_start(run, number)

    for pod in pods:
        told = await completed(run, f"{pod['metadata']['name']}-again", timeout=60.0)
        assert phases(told) == {"app": "Succeeded"}
    assert [len(run.terms(pod)) for pod in pods] == [1] * KILLS
    now = [await run.pod(pod["metadata"]["name"]) for pod in pods]
    assert [planned(pod) for pod in now] == [1] * KILLS
    await run.delete(*(pod["metadata"]["name"] for pod in pods))


async def _kill_and_start(run: Restarting, number: int) -> None:
    """Have the victim, one after another, be gone for a moment."""
    match number % 3:
        case 0:
            await run.agent.kill()
            await run.agent.start()
        case 1:
            await run.centre.process.kill()
            run.centre.process.start()
        case _:
            await run.cluster.containerd.kill()
            await run.cluster.containerd.start()
