"""Rollouts of a CloneSet that replace its pods: how many at once, which, and what stays."""

from typing import Any

from daemon import names
from tests.functional.cloneset_world import CloneSetWorld, cloneset_world, spec


async def started(world: CloneSetWorld, replicas: int = 4, **strategy: object) -> set[str]:
    """Have a set of that strategy; return the UIDs of its pods."""
    world.apply(spec(replicas, updateStrategy=strategy))
    await world.settled()
    return world.uids()


async def test_all_pods_are_replaced_by_ones_of_the_new_revision() -> None:
    async with cloneset_world() as world:
        old = await started(world)

        world.set_image("app:2")
        status = await world.settled()

        assert world.images() == ["app:2"] * 4
        assert not world.uids() & old
        assert status["currentRevision"] == status["updateRevision"]


async def test_no_more_pods_are_away_than_may_be() -> None:
    async with cloneset_world() as world:
        old = await started(world, 5, maxUnavailable=2)
        world.kubelet.manual = True

        world.set_image("app:2")
        await world.until(lambda: len(world.uids() - old) == 2)

        assert len(world.uids() & old) == 3


async def test_pods_are_made_before_others_go_with_surge_alone() -> None:
    async with cloneset_world() as world:
        old = await started(world, 3, maxUnavailable=0, maxSurge=1)
        world.kubelet.manual = True
        world.set_image("app:2")
        await world.until(lambda: len(world.pods()) == 4)
        kept = world.uids() & old
        world.kubelet.resume()

        await world.settled()

        assert kept == old
        assert world.images() == ["app:2"] * 3


async def test_the_partition_keeps_pods_of_the_old_revision() -> None:
    async with cloneset_world() as world:
        await started(world, 5, partition=3)

        world.set_image("app:2")
        status = await world.settled()

        assert world.images() == ["app:1"] * 3 + ["app:2"] * 2
        assert (status["updatedReplicas"], status["expectedUpdatedReplicas"]) == (2, 2)
        assert status["currentRevision"] != status["updateRevision"]


async def test_pods_that_are_made_anew_below_the_partition_are_old() -> None:
    async with cloneset_world() as world:
        await started(world, 4, partition=2)
        world.set_image("app:2")
        await world.settled()
        old = next(pod for pod in world.pods() if pod["spec"]["containers"][0]["image"] == "app:1")

        world.server.remove("pods", old["metadata"]["name"], "shop")
        await world.until(lambda: len(world.pods()) == 4)

        assert world.images() == ["app:1"] * 2 + ["app:2"] * 2


async def test_a_lowered_partition_lets_more_pods_change() -> None:
    async with cloneset_world() as world:
        await started(world, 4, partition="50%")
        world.set_image("app:2")
        await world.settled()

        world.change(updateStrategy={"partition": 0})
        await world.settled()

        assert world.images() == ["app:2"] * 4


async def test_a_paused_set_changes_no_pod_but_is_scaled() -> None:
    async with cloneset_world() as world:
        old = await started(world, 2, paused=True)

        world.set_image("app:2")
        world.change(replicas=3)
        await world.until(lambda: len(world.pods()) == 3)

        assert old <= world.uids()


async def test_pods_change_when_somebody_deletes_them_with_on_delete() -> None:
    async with cloneset_world() as world:
        await started(world, 2, type="OnDelete")
        world.set_image("app:2")
        await world.until(lambda: world.status()["observedGeneration"] == 2)

        world.server.remove("pods", world.pods()[0]["metadata"]["name"], "shop")
        await world.until(lambda: len(world.pods()) == 2)

        assert world.images() == ["app:1", "app:2"]


async def test_a_roll_back_takes_up_the_old_revision_again() -> None:
    async with cloneset_world() as world:
        await started(world, 2, maxUnavailable="100%")
        first = world.status()["updateRevision"]
        world.set_image("app:2")
        await world.settled()

        world.set_image("app:1")
        status = await world.settled()

        revisions = world.server.storage.of("controllerrevisions")
        assert status["updateRevision"] == first
        assert len(revisions) == 2
        assert revisions["shop", first]["revision"] == 3


async def test_old_revisions_are_forgotten_beyond_the_limit() -> None:
    async with cloneset_world() as world:
        world.apply(spec(1, revisionHistoryLimit=2))
        await world.settled()

        for number in range(2, 7):
            world.set_image(f"app:{number}")
            await world.settled()

        await world.until(lambda: len(world.server.storage.of("controllerrevisions")) == 3)


async def test_a_revision_of_openkruise_s_manager_is_taken_for_what_it_is() -> None:
    async with cloneset_world() as world:
        world.apply(spec(1))
        status = await world.settled()
        name = status["updateRevision"]
        stored = world.server.document("controllerrevisions", name, "shop")
        # As Go writes it: what is empty is there, what the schema does not have is null.
        template = stored["data"]["spec"]["template"]
        template["metadata"]["creationTimestamp"] = None
        template["spec"]["containers"][0]["resources"] = {}
        del world.server.storage.documents["controllerrevisions"]["shop", name]
        world.server.store("controllerrevisions", {**stored, "metadata": {**stored["metadata"]}})

        world.change(minReadySeconds=1)
        await world.until(lambda: world.status()["observedGeneration"] == 2)

        assert world.status()["updateRevision"] == name


async def test_a_rollout_that_comes_no_further_is_told_after_its_deadline() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, progressDeadlineSeconds=1))
        await world.settled()
        world.kubelet.broken.add("bad:1")

        world.set_image("bad:1")
        await world.until(lambda: world.condition("Progressing").get("reason") == "ProgressDeadlineExceeded")

        assert world.condition(names.STALLED)["status"] == "True"
        assert "no progress for 1 s" in world.condition(names.READY)["message"]
        assert world.images().count("app:1") == 1


async def test_a_stuck_rollout_is_freed_by_a_mended_template() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, progressDeadlineSeconds=1))
        await world.settled()
        world.kubelet.broken.add("bad:1")
        world.set_image("bad:1")
        await world.until(lambda: world.condition(names.STALLED).get("status") == "True")

        world.set_image("app:2")
        await world.settled()

        assert world.images() == ["app:2"] * 2
        assert world.condition(names.STALLED)["status"] == "False"


def _defaulted(template: dict[str, Any], **container: Any) -> dict[str, Any]:
    """*template* once a webhook has filled in its defaults, as OpenKruise's does with every edit."""
    (app,) = template["spec"]["containers"]
    logs = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
    filled: dict[str, Any] = {
        "dnsPolicy": "ClusterFirst",
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
    }
    filled |= {"securityContext": {}, "terminationGracePeriodSeconds": 30}
    containers = [{**app, "resources": {}, **logs, **container}]
    return {**template, "spec": {**template["spec"], **filled, "containers": containers}}


async def test_defaults_that_a_webhook_fills_in_change_no_pod() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, updateStrategy={"type": "InPlaceIfPossible"}))
        await world.settled()
        uids, before = world.uids(), len(world.writes())

        world.change(template=_defaulted(world.stored()["spec"]["template"]))
        await world.settled()

        assert world.uids() == uids
        assert not [each for each in world.writes()[before:] if "pods" in each or "revisions" in each]


async def test_an_edit_with_which_a_webhook_fills_in_defaults_replaces_no_pod() -> None:
    async with cloneset_world() as world:
        world.apply(spec(2, updateStrategy={"type": "InPlaceIfPossible"}))
        await world.settled()
        uids = world.uids()

        template = world.stored()["spec"]["template"]
        world.change(template=_defaulted(template, image="app:2", imagePullPolicy="Always"))
        await world.settled()

        assert (world.uids(), world.images()) == (uids, ["app:2"] * 2)
