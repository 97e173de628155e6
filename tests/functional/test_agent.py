"""The agent of a cluster: told by the API server, telling it no more than its own status."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from daemon.debug.views import NodeView
from tests.fakes.apifaults import Fault
from tests.functional.agent_world import NODE, AgentWorld, agent_world, wanting
from tests.functional.standalone_world import Process

IMAGE = "reg.test/app"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[AgentWorld]:
    async with agent_world(tmp_path) as made:
        yield made


async def idle(agent: Process) -> NodeView:
    """Wait until the node is ready and nothing moves."""
    return await agent.until(
        lambda view: view.ready and all(pull.completed_at for pull in view.pulls), "ready"
    )


async def test_what_the_node_is_told_to_have_is_pulled_and_told(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1"))

    async with cluster.running():
        tag = await cluster.phase(IMAGE, "v1", "Succeeded")

    assert cluster.node.pulled() == [f"{IMAGE}:v1"]
    assert (tag["version"], tag["progress"]) == (0, 100)
    status = cluster.node_image()["status"]
    assert (status["desired"], status["succeeded"], status["observedGeneration"]) == (1, 1, 1)


async def test_a_short_pull_costs_one_status_write_and_one_event(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting())
    async with cluster.running():
        await cluster.until(lambda: cluster.node_image().get("status"), "it says that it is there")
        before = cluster.server.writes

        cluster.store(wanting(app="v1"))
        await cluster.until(lambda: cluster.server.writes["create events"], "the event")

    assert cluster.server.writes - before == {"patch nodeimages/status": 1, "create events": 1}


async def test_twenty_short_pulls_cost_few_writes(cluster: AgentWorld) -> None:
    names = [f"i{number}" for number in range(20)]
    for name in names:
        cluster.node.node.offer(f"reg.test/{name}:v1")
    cluster.store(wanting())
    async with cluster.running():
        await cluster.until(lambda: cluster.node_image().get("status"), "it says that it is there")
        before = cluster.server.writes

        cluster.store(wanting(**dict.fromkeys(names, "v1")))
        await cluster.until(lambda: cluster.node_image()["status"]["succeeded"] == 20, "all pulled")
        await cluster.until(lambda: cluster.server.writes["create events"], "the event")

    writes = cluster.server.writes - before
    assert writes["patch nodeimages/status"] <= 5
    assert writes["create events"] == 1


async def test_it_writes_its_own_status_lease_and_events_and_nothing_else(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1", missing="v1"))
    cluster.store(wanting("node-8", app="v1"))

    async with cluster.running():
        await cluster.phase(IMAGE, "v1", "Succeeded")
        await cluster.phase("reg.test/missing", "v1", "Failed")
        await cluster.until(lambda: cluster.server.writes["create events"] >= 3, "events")

    assert set(cluster.server.writes) == {
        "patch nodeimages/status",
        "create leases",
        "create events",
    }
    assert "status" not in cluster.node_image("node-8")
    lease = cluster.server.document("leases", f"inplaced-{NODE}", "inplaced")["spec"]
    assert lease["holderIdentity"] == NODE
    assert lease["leaseDurationSeconds"] <= 60


async def test_it_reads_what_is_its_own_nodes_and_nothing_else(cluster: AgentWorld) -> None:
    cluster.store(wanting(app="v1"))

    async with cluster.running():
        await cluster.phase(IMAGE, "v1", "Failed")

    watches = [each for each in cluster.server.requests if each.verb in {"list", "watch"}]
    assert {(each.resource, each.query.get("fieldSelector")) for each in watches} == {
        ("nodeimages", f"metadata.name={NODE}"),
        ("pods", f"spec.nodeName={NODE}"),
        ("containerrecreaterequests", f"status.nodeName={NODE}"),
    }
    assert {each.resource for each in cluster.server.requests if each.verb == "get"} <= {"leases"}


async def test_an_end_is_said_on_the_node_and_a_failure_on_its_job_too(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1", missing="v1"))

    async with cluster.running():
        await cluster.until(lambda: cluster.server.writes["create events"] >= 3, "events")

    events = list(cluster.server.storage.of("events").values())
    told = {
        (each["type"], each["reason"], each["regarding"]["kind"], each["regarding"]["name"])
        for each in events
    }
    assert told == {
        ("Normal", "Pulled", "NodeImage", NODE),
        ("Warning", "PullFailed", "NodeImage", NODE),
        ("Warning", "PullFailed", "ImagePullJob", "missing"),
    }
    (on_job,) = (each for each in events if each["regarding"]["kind"] == "ImagePullJob")
    assert (on_job["regarding"]["namespace"], on_job["regarding"]["uid"]) == ("shop", "u-missing")
    assert {each["reportingInstance"] for each in events} == {NODE}


async def test_what_is_no_longer_wanted_is_forgotten_and_released(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1"))

    async with cluster.running() as agent:
        await agent.pull(f"{IMAGE}:v1", lambda pull: pull.pinned, "pinned")
        cluster.store(wanting())
        await cluster.until(lambda: not cluster.tag(IMAGE, "v1"), "its status is gone")
        await agent.until(lambda view: not view.pulls, "nothing is wanted")

    assert cluster.node_image()["status"]["desired"] == 0


async def test_a_finished_pull_is_not_repeated_after_a_restart(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1", missing="v1"))
    async with cluster.running():
        await cluster.phase(IMAGE, "v1", "Succeeded")
        await cluster.phase("reg.test/missing", "v1", "Failed")
    before = cluster.node_image()["status"]
    asked, cluster.node.runtime.calls[:] = list(cluster.node.runtime.calls), []

    async with cluster.running() as agent:
        await idle(agent)
        await cluster.until(
            lambda: cluster.node_image()["status"]["agent"] != before["agent"], "another key is told"
        )

    assert asked
    assert cluster.node.pulled() == []
    assert cluster.node_image()["status"]["imageStatuses"] == before["imageStatuses"]


async def test_a_kept_key_makes_a_restart_cost_no_write_but_the_lease(
    cluster: AgentWorld, tmp_path: Path
) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1"))
    state = str(tmp_path / "keys")
    async with cluster.running(state=state) as agent:
        await cluster.phase(IMAGE, "v1", "Succeeded")
        await agent.pull(f"{IMAGE}:v1", lambda pull: pull.pinned, "pinned")
    before = cluster.server.writes

    async with cluster.running(state=state) as agent:
        await idle(agent)
        await cluster.until(lambda: cluster.server.writes["patch leases"], "a sign of life")

    assert cluster.server.writes - before == {"patch leases": 1}
    assert (tmp_path / "keys" / "sealing.key").stat().st_mode & 0o777 == 0o600


async def test_pins_are_not_released_before_it_is_known_what_is_wanted(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1"))
    async with cluster.running() as agent:
        await agent.pull(f"{IMAGE}:v1", lambda pull: pull.pinned, "pinned")
    cluster.node.containerd.calls.clear()

    async with cluster.running() as agent:
        await agent.pull(f"{IMAGE}:v1", lambda pull: pull.pinned, "pinned")

    calls = cluster.node.containerd.calls
    assert calls
    assert not {"Images.Update", "Leases.Delete", "Leases.DeleteResource"} & set(calls)


async def test_the_page_shows_the_jobs_that_want_something_of_the_node(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1"))

    async with cluster.running() as agent:
        view = await idle(agent)
        page = await agent.get("/")

    (job,) = view.jobs
    assert (job.kind, job.namespace, job.name, job.succeeded) == ("ImagePullJob", "shop", "app", 1)
    assert "shop/" in page


async def test_who_asks_the_node_is_sent_to_the_cluster(cluster: AgentWorld) -> None:
    cluster.store(wanting())

    async with cluster.running() as agent:
        asked = {"images": [f"{IMAGE}:v1"]}
        async with agent.client.post("http://agent/v1/pulls", json=asked) as refusal:
            said = await refusal.text()

    assert refusal.status == 400
    assert f"kubectl inplaced pull {IMAGE}:v1" in said


async def test_it_is_not_ready_without_a_runtime_and_says_why(cluster: AgentWorld) -> None:
    await cluster.node.runtime.stop()
    cluster.store(wanting())

    async with cluster.running() as agent:
        await agent.until(lambda view: bool(view.runtimes) or not view.ready, "seen")
        said = await agent.get("/readyz?verbose")
        alive = await agent.get("/livez")

    assert "runtime" in said
    assert "ok" in alive


async def test_it_is_not_ready_while_it_may_not_see_its_pods_and_says_why(cluster: AgentWorld) -> None:
    cluster.store(wanting())
    cluster.server.fail(Fault(status=403, resource="pods", times=1000))

    async with cluster.running() as agent:
        await cluster.until(lambda: cluster.node_image().get("status"), "the node's half works")
        said = await agent.get("/readyz?verbose")
        ready = (await agent.view()).ready

    assert "[+]api ok" in said
    assert "[-]pods failed: the API server has not been followed for" in said
    assert "Forbidden" in said
    assert not ready


async def test_a_node_without_an_object_waits_for_it(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")

    async with cluster.running() as agent:
        await agent.until(lambda view: view.ready, "ready")
        cluster.store(wanting(app="v1"))
        await cluster.phase(IMAGE, "v1", "Succeeded")


async def test_an_object_that_is_made_anew_is_told_everything(cluster: AgentWorld) -> None:
    cluster.node.node.offer(f"{IMAGE}:v1")
    cluster.store(wanting(app="v1"))

    async with cluster.running():
        await cluster.phase(IMAGE, "v1", "Succeeded")
        cluster.server.remove("nodeimages", NODE)
        cluster.store(wanting(app="v1"))
        tag = await cluster.phase(IMAGE, "v1", "Succeeded")

    assert tag["imageID"]
    assert cluster.node.pulled() == [f"{IMAGE}:v1"]
