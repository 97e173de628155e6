"""What becomes of jobs on a node: the whole agent on real containerds, old and new."""

import pytest

from tests.integration.looking import MB, asked, conditions, fetched, is_pulling, state
from tests.testbed.agent import Agent, pull_job
from tests.testbed.containerd import Containerd
from tests.testbed.faults import hold, throttle
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.fixtures import MakeAgent
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.witness import Witness


async def test_a_job_brings_its_image_and_tells_so_in_openkruises_words(
    agent: Agent, witness: Witness, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 3000, 2000)

    agent.write("app", pull_job("app", made.ref))
    job = (await agent.ended("app"))["app"]

    assert (await witness.image(made.ref) or pytest.fail("not there")).id == made.config_digest
    status = await state(agent, "imagepulljobs", "app", "completionTime")
    assert {key: status[key] for key in ("desired", "active", "succeeded", "failed", "message")} == {
        "desired": 1,
        "active": 0,
        "succeeded": 1,
        "failed": 0,
        "message": "job has completed",
    }
    assert status["startTime"] <= status["completionTime"]
    assert conditions(job) == {
        "Ready": ("True", "Completed"),
        "Reconciling": ("False", "Completed"),
        "Stalled": ("False", "Completed"),
    }
    node = await state(agent, "nodeimages", "localhost", "succeeded")
    assert (node["desired"], node["succeeded"], node["failed"]) == (1, 1, 0)
    tag = node["imageStatuses"][made.name]["tags"][0]
    assert (tag["tag"], tag["phase"], tag["progress"]) == ("v1", "Succeeded", 100)
    assert made.config_digest in tag["imageID"]


async def test_workers_are_bounded_and_the_highest_priority_goes_first(
    make_agent: MakeAgent, containerd: Containerd, faulty_registry: FaultyRegistry, prefix: str
) -> None:
    agent = await make_agent(containerd, pull_workers="1", measure_images="false")
    maker = ImageMaker(faulty_registry, prefix)
    names = ["first", "low", "high", "middle"]
    images = {name: await maker.make_random(name, 3000) for name in names}
    held = faulty_registry.go_wrong(hold(-1, f"first/blobs/{images['first'].layers[0].digest}"))

    agent.write("first", pull_job("first", images["first"].ref))
    await held.held.wait()
    for name, priority in (("low", "-5"), ("high", "100"), ("middle", "7")):
        job = pull_job(name, images[name].ref)
        job["metadata"]["annotations"] = {"inplaced.dev/priority": priority}
        agent.write(name, job)
    view = await agent.until(lambda view: len(view.pulls) == len(names), "all asked for")
    running = [pull.image for pull in view.pulls if pull.phase == "Pulling"]
    faulty_registry.recover()
    await agent.ended(*names)

    assert running == [images["first"].ref]
    order = [served.path.split("/")[-3] for served in faulty_registry.requests("/blobs/")]
    assert list(dict.fromkeys(order)) == ["first", "high", "middle", "low"]


async def test_parallelism_zero_pauses_until_it_is_raised(
    agent: Agent, registry: Registry, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 2000)

    agent.write("app", pull_job("app", made.ref, parallelism=0))
    await agent.until(
        lambda view: any(conditions(job).get("Reconciling") == ("False", "Paused") for job in view.jobs),
        "paused",
    )
    asked_while_paused = fetched(registry, made.repository)
    agent.write("app", pull_job("app", made.ref, parallelism=1))
    job = (await agent.ended("app"))["app"]

    assert asked_while_paused == []
    assert job.succeeded == 1


async def test_a_list_tells_which_of_its_images_failed(
    agent: Agent, witness: Witness, image_maker: ImageMaker
) -> None:
    images = [await image_maker.make_random(name, 2000) for name in ("one", "two")]
    missing = image_maker.missing("three")
    job = pull_job("all", "")
    job["kind"] = "ImageListPullJob"
    job["spec"] = {
        "images": [images[0].ref, missing, images[1].ref],
        "pullPolicy": {"backoffLimit": 0},
    }

    agent.write("all", job)
    ended = (await agent.ended("all"))["all"]

    status = await state(agent, "imagelistpulljobs", "all", "completionTime")
    assert (ended.desired, ended.succeeded, ended.failed) == (3, 2, 1), status
    assert (status["completed"], status["active"]) == (3, 0)
    assert [failed["name"] for failed in status["failedImageStatuses"]] == [missing]
    assert "not found" in status["failedImageStatuses"][0]["message"]
    assert all([await witness.image(image.ref) for image in images])


@pytest.mark.parametrize(
    "selector",
    [
        {"names": ["elsewhere", "here"]},
        {"matchLabels": {"pool": "gpu"}},
        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]},
        {"matchLabels": {"pool": "gpu"}, "matchExpressions": [{"key": "spot", "operator": "DoesNotExist"}]},
    ],
    ids=["name", "label", "expression", "both"],
)
async def test_a_job_whose_selector_means_this_node_is_carried_out(
    make_agent: MakeAgent, containerd: Containerd, image_maker: ImageMaker, selector: dict[str, object]
) -> None:
    agent = await make_agent(containerd, node_name="here", node_labels="pool=gpu,zone=b")
    made = await image_maker.make_random("app", 2000)

    agent.write("app", pull_job("app", made.ref, selector=selector))
    job = (await agent.ended("app"))["app"]

    assert (job.desired, job.succeeded) == (1, 1)
    assert (await state(agent, "nodeimages", "here", "succeeded"))["succeeded"] == 1


@pytest.mark.parametrize(
    "selector",
    [
        {"names": ["elsewhere"]},
        {"matchLabels": {"pool": "cpu"}},
        {"matchExpressions": [{"key": "pool", "operator": "Exists"}, {"key": "arm", "operator": "Exists"}]},
    ],
    ids=["name", "label", "expression"],
)
async def test_a_job_for_other_nodes_pulls_nothing_here_and_says_so(
    make_agent: MakeAgent,
    containerd: Containerd,
    registry: Registry,
    image_maker: ImageMaker,
    selector: dict[str, object],
) -> None:
    agent = await make_agent(containerd, node_name="here", node_labels="pool=gpu")
    other, mine = [await image_maker.make_random(name, 2000) for name in ("other", "mine")]

    agent.write("other", pull_job("other", other.ref, selector=selector))
    agent.write("mine", pull_job("mine", mine.ref))
    await agent.ended("mine")
    view = await agent.until(
        lambda view: any(job.name == "other" and job.conditions for job in view.jobs), "told"
    )

    job = {job.name: job for job in view.jobs}["other"]
    assert (job.desired, conditions(job)["Ready"][1]) == (0, "NoNodes")
    assert not registry.accesses(other.repository) or asked(registry, other.repository) == 0


async def test_progress_moves_while_bytes_come(
    agent: Agent, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    made = await faulty_image_maker.make_random("app", 6 * MB)
    faulty_registry.go_wrong(throttle(4 * MB))

    agent.write("app", pull_job("app", made.ref))
    view = await agent.until(is_pulling(made.ref, MB), "on its way")
    await agent.ended("app")

    (pull,) = view.pulls
    assert 0 < pull.percent < 100
    assert MB <= pull.bytes_done < pull.bytes_total
    assert pull.rate > 0
    assert (await agent.pull(made.ref)).percent == 100
