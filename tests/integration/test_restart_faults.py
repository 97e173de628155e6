"""Restarts in place when something goes wrong: bad values, kills, back-off, deletion, no controller."""

import asyncio
import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.testbed.counting import condition, planned
from tests.testbed.restarting import Restarting
from tests.testbed.session import TestbedError
from tests.testbed.storm import Kills, storm

KUBELET_BACK_OFF = timedelta(seconds=10)
"""Before the second restart of a container."""

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.integration]


async def test_an_unavoidable_back_off_is_told_with_its_end(bed: Restarting, web: str) -> None:
    await bed.create(web)
    await bed.in_sync(web)
    await bed.annotate(web, colour="blue")
    await bed.restarted(web, 1)

    await bed.annotate(web, colour="green")
    waiting = await bed.until(web, lambda pod: condition(pod).get("reason") == "BackOff", "back-off")

    (status,) = waiting["status"]["containerStatuses"]
    ends = datetime.fromisoformat(status["lastState"]["terminated"]["finishedAt"]) + KUBELET_BACK_OFF
    found = re.search(r"waits in back-off (?:until (\S+)|which ends now)$", condition(waiting)["message"])
    assert found is not None
    if found[1] is None:  # a machine so busy that nobody looked before
        assert datetime.now(UTC) >= ends
    else:
        assert datetime.fromisoformat(found[1]) == ends


@pytest.mark.parametrize("value", ["x" * 100 * 1024, "a\x00b"], ids=["100 KiB", "binary"])
async def test_a_value_that_no_program_could_start_with_is_an_error_and_nothing_else(
    bed: Restarting, web: str, value: str
) -> None:
    await bed.create(web)
    await bed.in_sync(web)

    await bed.annotate(web, colour=value)
    refused = await bed.until(web, lambda pod: condition(pod)["reason"] == "Failed", "the error")

    assert "COLOUR would" in condition(refused)["message"]
    assert await bed.colours(refused) == ["red"]
    await bed.annotate(web, colour="blue")
    after = await bed.restarted(web, 1)
    assert await bed.colours(after) == ["red", "blue"]


async def test_a_deletion_during_the_pre_stop_wins(bed: Restarting, web: str) -> None:
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "touch /count/hook; sleep 60"]}}}
    await bed.create(web, container={"lifecycle": hook}, spec={"terminationGracePeriodSeconds": 60})
    pod = await bed.in_sync(web)
    await bed.annotate(web, colour="blue")
    await bed.until(web, lambda pod: (bed.directory(pod) / "hook").exists(), "the hook")

    await bed.delete(web, grace=1)

    await bed.gone(web, timeout=20.0)
    assert [each.colour for each in bed.starts(pod)] in ([], ["red"])


async def test_an_agent_that_dies_at_any_moment_restarts_each_container_once(
    bed: Restarting, web: str
) -> None:
    pods = [f"{web}-{number}" for number in range(4)]
    for pod in pods:
        await bed.create(pod)
    for pod in pods:
        await bed.in_sync(pod)

    for number, pod in enumerate(pods):
        await bed.annotate(pod, colour="blue")
        await asyncio.sleep(0.05 * number)
        await bed.agent.kill()
        await bed.agent.start()
    after = [await bed.restarted(pod, 1) for pod in pods]

    assert [await bed.colours(pod) for pod in after] == [["red", "blue"]] * 4
    assert [planned(await bed.pod(pod)) for pod in pods] == [1] * 4


async def test_a_pod_that_waits_for_a_controller_says_so(bed: Restarting, web: str) -> None:
    (pod,) = await bed.deploy(web, 1)
    await bed.centre.process.kill()
    try:
        await bed.annotate(pod, colour="blue")
        waiting = await bed.until(pod, lambda seen: condition(seen)["reason"] == "Waiting", "waiting")
    finally:
        bed.centre.process.start()

    assert "waits for the controller" in condition(waiting)["message"]
    after = await bed.restarted(pod, 1)
    assert await bed.colours(after) == ["red", "blue"]
    await bed.api.request("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{web}")


async def test_what_is_said_of_a_pod_is_refused_by_its_successor_of_the_same_name(
    bed: Restarting, web: str
) -> None:
    await bed.create(web)
    await bed.in_sync(web)

    with pytest.raises(TestbedError, match=r": (409|422) "):
        await bed.patch(
            f"{web}/status",
            {"metadata": {"uid": "00000000-0000-4000-8000-000000000000", "annotations": {"a": "b"}}},
            "strategic",
        )


async def test_changes_under_random_kills_lead_to_one_restart_each(bed: Restarting, web: str) -> None:
    """The whole storm, 200 changes and 75 kills, is `python -m tests.bench.restart_storm`."""
    bare = [f"{web}-{number}" for number in range(4)]
    for pod in bare:
        await bed.create(pod)
    owned = await bed.deploy(web, 4, annotations={"inplaced.dev/max-unavailable": "2"})
    for pod in bare:
        await bed.in_sync(pod)

    outcome = await storm(bed, [*bare, *owned], 1, Kills(agent=4, controller=2, runtime=1))

    assert (outcome.wrong, outcome.changes) == ([], 8)
    await bed.api.request("DELETE", f"/apis/apps/v1/namespaces/default/deployments/{web}")
