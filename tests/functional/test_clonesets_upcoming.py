"""Rollouts of a CloneSet are made known first: prepared pods move, others are left alone until they are."""

import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from daemon import names
from daemon.kube.access import Fixed
from daemon.kube.client import ApiClient
from daemon.metrics import Metrics
from tests.fakes.apifaults import Fault
from tests.fakes.kubelet import NODES
from tests.fakes.preparing import SimulatedAgents
from tests.functional.cloneset_world import CloneSetWorld, cloneset_world, spec

IN_PLACE = {"type": "InPlaceIfPossible", "maxUnavailable": 1}


@asynccontextmanager
async def _world(**parts: Any) -> AsyncIterator[tuple[CloneSetWorld, SimulatedAgents]]:
    """A set of three pods on three nodes, whose agents answer."""
    async with (
        cloneset_world(prepare=True) as world,
        ApiClient(Fixed(world.server.url), Metrics(), user_agent="agent", deadline=5.0) as client,
        SimulatedAgents(client).answering() as agents,
    ):
        world.apply(spec(3, **{"updateStrategy": IN_PLACE, **parts}))
        await world.settled()
        yield world, agents


def _jobs(world: CloneSetWorld) -> list[Any]:
    return list(world.server.storage.of("imagepulljobs").values())


def _told(world: CloneSetWorld) -> list[str]:
    key = names.NEXT_REVISION_ANNOTATION
    return [pod["metadata"]["name"] for pod in world.pods() if key in pod["metadata"].get("annotations", {})]


async def test_a_rollout_is_prepared_and_nothing_of_it_is_left() -> None:
    async with _world() as (world, _):
        pods = world.uids()

        world.set_image("app:2")
        await world.settled()
        await world.until(lambda: not _jobs(world))

        assert (world.uids(), world.images()) == (pods, ["app:2"] * 3)
        assert "create imagepulljobs" in world.writes()
        assert not _told(world)
        assert not any(
            each["type"] == names.NEXT_REVISION_READY
            for pod in world.pods()
            for each in pod["status"]["conditions"]
        )


async def test_a_rollout_goes_on_unprepared_where_a_webhook_that_is_down_keeps_it_from_its_jobs() -> None:
    async with _world() as (world, _):
        message = 'Internal error occurred: failed calling webhook "vimagepulljob.kb.io": no endpoints'
        world.server.fail(
            Fault(verb="create", resource="imagepulljobs", status=500, message=message, times=10_000)
        )

        world.set_image("app:2")
        await world.settled()

        assert world.images() == ["app:2"] * 3


async def test_a_rollout_that_cannot_be_prepared_for_now_says_so_and_goes_on_later() -> None:
    async with _world() as (world, _):
        fault = Fault(verb="create", resource="imagepulljobs", status=503, times=10_000)
        world.server.fail(fault)

        world.set_image("app:2")
        await world.until(lambda: world.condition("FailedUpdate").get("status") == "True")
        images, told = world.images(), world.condition("FailedUpdate")
        fault.times = 0
        await world.settled()

        assert images == ["app:1"] * 3
        assert "ServiceUnavailable" in told["message"]
        assert (world.images(), world.condition("FailedUpdate")["status"]) == (["app:2"] * 3, "False")


async def test_the_announcement_is_one_write_a_pod_beside_the_update_s_three() -> None:
    async with _world() as (world, _):
        before = len(world.writes())

        world.set_image("app:2")
        await world.settled()

        pod_writes = [each for each in world.writes()[before:] if " pods" in each]
        assert len(pod_writes) == 3 * 4


def _say(world: CloneSetWorld, node: str, phase: str = "") -> None:
    """Have a node tell of the image that the rollout's job asks it for; without a phase, nothing yet."""
    (job,) = _jobs(world)
    name, _, tag = job["spec"]["image"].partition(":")
    owner = {"apiVersion": names.KRUISE_API, "kind": "ImagePullJob", "name": job["metadata"]["name"]}
    owned = {"tag": tag, "version": 1, "ownerReferences": [{**owner, "uid": job["metadata"]["uid"]}]}
    told = [{"tag": tag, "version": 1, "phase": phase, "progress": 0}] if phase else []
    world.server.store(
        "nodeimages",
        {
            "metadata": {"name": node},
            "spec": {"images": {name: {"tags": [owned]}}},
            "status": {"imageStatuses": {name: {"tags": told}}},
        },
    )


async def test_pods_whose_nodes_have_the_image_soon_are_told_nothing_and_cost_three_writes_each() -> None:
    async with _world() as (world, _):
        for node in NODES:
            world.server.store("nodeimages", {"metadata": {"name": node}, "spec": {}})
        before = len(world.writes())

        world.set_image("app:2")
        await world.until(lambda: "3 Preparing" in str(world.status().get("conditions")))
        for node in NODES:
            _say(world, node, "Succeeded")
        await world.settled()

        assert len([each for each in world.writes()[before:] if " pods" in each]) == 3 * 3
        assert world.images() == ["app:2"] * 3


async def test_no_pod_is_touched_while_its_node_fetches_and_those_that_have_it_go() -> None:
    async with _world() as (world, _):
        for node in NODES:
            world.server.store("nodeimages", {"metadata": {"name": node}, "spec": {}})

        world.set_image("app:2")
        await world.until(lambda: bool(_jobs(world)))
        _say(world, NODES[0], "Succeeded")
        await world.until(lambda: "2 Preparing" in str(world.status().get("conditions")))
        await world.until(lambda: world.images() == ["app:1", "app:1", "app:2"])

        assert not _told(world)
        _say(world, NODES[1], "Succeeded")
        _say(world, NODES[2], "Succeeded")
        await world.settled()


async def test_pods_whose_node_has_trouble_are_told_at_once() -> None:
    async with _world() as (world, agents):
        for node in NODES:
            world.server.store("nodeimages", {"metadata": {"name": node}, "spec": {}})
            agents.reasons[node] = "PullFailed"

        world.set_image("app:2")
        await world.until(lambda: bool(_jobs(world)))
        for node in NODES:
            _say(world, node, "Failed")
        await world.until(lambda: len(_told(world)) == 3)
        await world.until(lambda: "PullFailed" in str(world.status().get("conditions")))

        assert world.images() == ["app:1"] * 3


async def test_pods_whose_nodes_are_prepared_go_first_and_the_others_hold_nobody_up() -> None:
    async with _world() as (world, agents):
        agents.reasons[NODES[0]] = agents.reasons[NODES[1]] = "Pulling"

        world.set_image("app:2")
        await world.until(lambda: world.images() == ["app:1", "app:1", "app:2"])
        await world.until(lambda: "2 Preparing" in str(world.status().get("conditions")))
        agents.say(NODES[0], "Pulled")
        agents.say(NODES[1], "Pulled")
        await world.settled()

        assert world.images() == ["app:2"] * 3


async def test_a_pod_whose_node_cannot_get_the_image_is_not_touched() -> None:
    async with _world() as (world, agents):
        for node in NODES:
            agents.reasons[node] = "PullFailed"

        world.set_image("app:2")
        await world.until(lambda: len(_told(world)) == 3)
        await world.until(lambda: "PullFailed" in str(world.status().get("conditions")))

        assert world.images() == ["app:1"] * 3
        assert all(
            each["status"] == "True"
            for pod in world.pods()
            for each in pod["status"]["conditions"]
            if each["type"] == names.READY
        )


async def test_a_roll_back_takes_the_announcements_back() -> None:
    async with _world() as (world, agents):
        for node in NODES:
            agents.reasons[node] = "Pulling"
        world.set_image("app:2")
        await world.until(lambda: len(_told(world)) == 3)

        world.set_image("app:1")
        await world.settled()
        await world.until(lambda: not _told(world) and not _jobs(world))

        assert world.images() == ["app:1"] * 3


async def test_only_pods_that_will_change_are_told() -> None:
    async with _world(updateStrategy={**IN_PLACE, "partition": 2}) as (world, agents):
        for node in NODES:
            agents.reasons[node] = "Pulling"

        world.set_image("app:2")
        await world.until(lambda: "1 Preparing" in str(world.status().get("conditions")))

        assert len(_told(world)) == 1


async def test_pods_that_a_raised_partition_lets_go_are_told_so_and_a_rollout_that_is_off_leaves_no_job() -> (
    None
):
    async with _world() as (world, agents):
        for node in NODES:
            agents.reasons[node] = "PullFailed"
        world.set_image("app:2")
        await world.until(lambda: len(_told(world)) == 3)
        await world.until(lambda: world.condition("FailedUpdate").get("status") == "True")

        world.change(updateStrategy={**IN_PLACE, "partition": 3})
        await world.settled()
        await world.until(lambda: not _told(world) and not _jobs(world))

        assert world.condition("FailedUpdate")["status"] == "False"
        assert world.images() == ["app:1"] * 3


async def test_a_rollout_that_stands_at_its_partition_keeps_the_images_for_the_pods_that_follow() -> None:
    async with _world() as (world, agents):
        agents.reasons[NODES[0]] = agents.reasons[NODES[1]] = "Pulling"
        world.set_image("app:2")
        await world.until(lambda: world.images() == ["app:1", "app:1", "app:2"])

        world.change(updateStrategy={**IN_PLACE, "partition": 2})
        await world.settled()
        await world.until(lambda: not _told(world))

        assert len(_jobs(world)) == 1


async def test_the_first_pods_change_unprepared_where_the_set_wants_updated_ones_first() -> None:
    strategy = {"inPlaceUpdateStrategy": {"imagePreDownloadMinUpdatedReadyPods": 1}}
    async with _world(updateStrategy={**IN_PLACE, **strategy}) as (world, _):
        world.set_image("app:2")
        await world.settled()

        told = [each for each in world.server.requests if each.verb == "patch" and each.resource == "pods"]
        announced = [each for each in told if names.NEXT_REVISION_ANNOTATION in str(each.body)]
        assert world.images() == ["app:2"] * 3
        assert len([each for each in announced if "revision" in str(each.body)]) >= 2


async def test_the_words_of_v1alpha1_are_read_from_annotations() -> None:
    async with _world() as (world, agents):
        for node in NODES:
            agents.reasons[node] = "Pulling"
        annotations = {
            "apps.kruise.io/image-predownload-parallelism": "50%",
            "apps.kruise.io/image-predownload-timeout-seconds": "120",
        }
        document = dict(world.stored())
        world.apply(document["spec"], annotations=annotations)

        world.set_image("app:2")
        await world.until(lambda: bool(_jobs(world)))

        assert _jobs(world)[0]["spec"]["parallelism"] == "50%"
        assert _jobs(world)[0]["spec"]["pullPolicy"]["timeoutSeconds"] == 120


def _sized(cpu: str) -> dict[str, Any]:
    """A template whose container asks for so much CPU."""
    template: dict[str, Any] = copy.deepcopy(spec()["template"])
    template["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
    return template


async def test_pods_whose_node_has_no_room_are_replaced_in_turn_where_the_set_wants_it() -> None:
    strategy = {**IN_PLACE, "inPlaceUpdateStrategy": {"onInfeasible": "Recreate"}}
    async with _world(template=_sized("1"), updateStrategy=strategy) as (world, agents):
        before = world.uids()
        for node in NODES:
            agents.reasons[node] = "WouldNotFit"

        world.change(template=_sized("2"))
        await world.until(lambda: not before & world.uids() and world.is_settled())

        assert {pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] for pod in world.pods()} == {"2"}
        notes = [note for reason, note in world.events() if reason == "SuccessfulUpdatePodReCreate"]
        assert len(notes) == 3
        assert all("it is WouldNotFit" in note for note in notes)


async def test_nodes_are_told_what_becomes_of_a_resize_that_does_not_come_about() -> None:
    policies = {"onInfeasible": "Rollback", "onDeferred": "Rollback", "resizeDeadlineSeconds": 60}
    strategy = {**IN_PLACE, "inPlaceUpdateStrategy": policies}
    async with _world(template=_sized("1"), updateStrategy=strategy) as (world, _):
        world.change(template=_sized("2"))
        await world.until(lambda: bool(_wishes(world)))

        told = _wishes(world)[0]
        assert (told["onInfeasible"], told["onDeferred"]) == ("Rollback", "Rollback")
        assert told["deadlineSeconds"] == 60


def _wishes(world: CloneSetWorld) -> list[Any]:
    annotations = [pod["metadata"].get("annotations", {}) for pod in world.pods()]
    return [json.loads(each[key]) for each in annotations if (key := names.RESOURCES_ANNOTATION) in each]
