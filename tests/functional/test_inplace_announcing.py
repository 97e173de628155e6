"""A rollout is made known: jobs that fetch images, and pods that are told what they become."""

import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daemon import names
from daemon.engine.clock import Clock
from daemon.inplace.announcing import Announced, Announcing
from daemon.inplace.rollouts import Download, Rollout
from daemon.kube.errors import ForbiddenError
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import CLUSTER_PODS, IMAGE_PULL_JOBS
from daemon.objects.images import (
    ImageEntry,
    ImagePullJob,
    ImageStatus,
    ImageTag,
    ImageTagStatus,
    NodeImage,
    NodeImageSpec,
    NodeImageStatus,
)
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key, LabelSelector, ObjectMeta, OwnerReference
from tests.fakes.apifaults import Fault
from tests.fakes.clock import FakeClock
from tests.fakes.following import following, until
from tests.functional.update_world import UpdateWorld, update_world
from tests.unit.revisions import container, revision

OWNER = OwnerReference(
    kind="CloneSet", name="web", uid="set-uid", api_version=names.KRUISE_API, controller=True
)
OLD = revision(container("app", "repo/app:1"), container("side", "repo/side:1"))
NEW = revision(container("app", "repo/app:2"), container("side", "repo/side:1"))


@pytest.fixture
async def world() -> AsyncIterator[UpdateWorld]:
    async with update_world() as made:
        # Any stored object will do for the workload: what it owns goes with it.
        workload = {"metadata": {"name": "web", "uid": OWNER.uid}, "spec": {}}
        made.server.storage.documents["nodeimages"] = {("", "web"): workload}
        yield made


@pytest.fixture
async def announcing(world: UpdateWorld) -> AsyncIterator[Announcing]:
    jobs = Informer(world.client, IMAGE_PULL_JOBS, world.metrics)
    async with following(jobs):
        yield _announcing(world, jobs, FakeClock())


def _announcing(
    world: UpdateWorld, jobs: Informer[ImagePullJob], clock: Clock, image: NodeImage | None = None
) -> Announcing:
    """With what every node says of its images."""
    objects = KubeObjects(world.client, jobs)
    return Announcing(world.client, world.pods, objects, clock, node_image=lambda _node: image)


def _rollout(new: Any = NEW, revision_name: str = "web-2", **more: Any) -> Rollout:
    selector = LabelSelector(match_labels={"app": "web"})
    return Rollout(
        owner=OWNER, namespace="default", selector=selector, revision=revision_name, new=new, **more
    )


async def _pods(world: UpdateWorld, *numbers: int) -> list[tuple[LocalPod, Any]]:
    found = []
    for number in numbers:
        world.make(OLD, name=f"web-{number}")
        found.append((await world.client.get(CLUSTER_PODS, Key("default", f"web-{number}")), OLD))
    return found


def _told(world: UpdateWorld, name: str) -> Any:
    annotations = world.server.document("pods", name, "default")["metadata"].get("annotations", {})
    return json.loads(annotations.get(names.NEXT_REVISION_ANNOTATION, "null"))


async def test_pods_are_told_the_images_and_resources_that_change(
    world: UpdateWorld, announcing: Announcing
) -> None:
    pods = await _pods(world, 1, 2)

    told = await announcing.announce(_rollout(), pods)

    assert told.told.keys() == {Key("default", "web-1"), Key("default", "web-2")}
    assert _told(world, "web-1") == {
        "revision": "web-2",
        "images": {"app": "repo/app:2"},
        "since": "2026-05-01T12:00:00Z",
    }


async def test_one_job_for_each_image_follows_the_pods_until_the_end(
    world: UpdateWorld, announcing: Announcing
) -> None:
    secretive = revision(
        *OLD["spec"]["template"]["spec"]["containers"], imagePullSecrets=[{"name": "regcred"}]
    )
    world.make(secretive, name="web-1")
    pod = await world.client.get(CLUSTER_PODS, Key("default", "web-1"))
    download = Download(parallelism="50%", timeout_seconds=120)

    await announcing.announce(_rollout(download=download), [(pod, OLD)])

    job = world.server.document("imagepulljobs", "web-2-app", "default")
    assert job["metadata"]["ownerReferences"][0]["uid"] == "set-uid"
    assert job["spec"]["image"] == "repo/app:2"
    assert job["spec"]["podSelector"] == {"matchLabels": {"app": "web"}}
    assert job["spec"]["pullSecrets"] == ["regcred"]
    assert job["spec"]["parallelism"] == "50%"
    assert job["spec"]["pullPolicy"]["timeoutSeconds"] == 120
    assert job["spec"]["completionPolicy"] == {"type": "Never"}


async def test_what_is_known_already_costs_nothing(world: UpdateWorld, announcing: Announcing) -> None:
    pods = await _pods(world, 1)
    told = await announcing.announce(_rollout(), pods)
    before = len(world.server.requests)

    again = await announcing.announce(_rollout(), [(told.told[Key("default", "web-1")], OLD)])

    assert again == Announced()
    assert len(world.server.requests) == before


async def test_labels_alone_are_nothing_to_prepare_for(world: UpdateWorld, announcing: Announcing) -> None:
    tagged = revision(container("app", "repo/app:1"), container("side", "repo/side:1"), labels={"a": "b"})

    assert await announcing.announce(_rollout(tagged), await _pods(world, 1)) == Announced()
    assert not world.server.count("create", "patch")


async def test_nothing_is_fetched_before_enough_updated_pods_are_ready(
    world: UpdateWorld, announcing: Announcing
) -> None:
    pods, download = await _pods(world, 1), Download(min_updated_ready=2)

    early = await announcing.announce(_rollout(download=download, updated_ready=1), pods)
    late = await announcing.announce(_rollout(download=download, updated_ready=2), pods)

    assert early == Announced()
    assert len(late.told) == 1


async def test_another_revision_replaces_jobs_and_announcements(
    world: UpdateWorld, announcing: Announcing
) -> None:
    told = await announcing.announce(_rollout(), await _pods(world, 1))
    third = revision(container("app", "repo/app:3"), container("side", "repo/side:1"))

    await announcing.announce(_rollout(third, "web-3"), [(told.told[Key("default", "web-1")], OLD)])

    jobs = [name for _, name in world.server.storage.of("imagepulljobs")]
    assert jobs == ["web-3-app"]
    assert _told(world, "web-1")["revision"] == "web-3"


@pytest.mark.parametrize(("minutes", "anew"), [(1, False), (10, True)])
async def test_nodes_that_failed_are_asked_anew_after_a_while(
    world: UpdateWorld, minutes: int, anew: bool
) -> None:
    jobs = Informer(world.client, IMAGE_PULL_JOBS, world.metrics)
    clock = FakeClock(datetime.now(UTC) + timedelta(minutes=minutes))
    announcing = _announcing(world, jobs, clock)
    pods, key = await _pods(world, 1), Key("default", "web-2-app")
    async with following(jobs):
        await announcing.announce(_rollout(), pods)
        first = dict(world.server.document("imagepulljobs", key.name, key.namespace))
        world.server.store("imagepulljobs", {**first, "status": {"desired": 1, "failed": 1}})
        await until(jobs, lambda: any(each.status.failed for each in jobs.list()))

        await announcing.announce(_rollout(), pods)

    stored = world.server.document("imagepulljobs", key.name, key.namespace)
    assert (stored["metadata"]["uid"] != first["metadata"]["uid"]) is anew


def _image(job: Mapping[str, Any], phase: str = "", **status: Any) -> NodeImage:
    """A node that was asked by *job*; without a phase, it has not said anything yet."""
    owner = OwnerReference(kind="ImagePullJob", name="j", uid=job["metadata"]["uid"], api_version="v1")
    tag = ImageTag(tag="2", version=3, owner_references=(owner,))
    said = {"version": 3, **status}
    tags = (ImageTagStatus(tag="2", phase=phase, **said),) if phase else ()  # type: ignore[arg-type]
    return NodeImage(
        metadata=ObjectMeta(name="n1"),
        spec=NodeImageSpec(images={"repo/app": ImageEntry(tags=(tag,))}),
        status=NodeImageStatus(image_statuses={"repo/app": ImageStatus(tags=tags)} if tags else {}),
    )


@pytest.mark.parametrize(
    ("phase", "status", "quietly", "found"),
    [
        pytest.param("Succeeded", {}, True, "prepared", id="the image is there"),
        pytest.param("Succeeded", {}, False, "prepared", id="it came after a while"),
        pytest.param("Succeeded", {"version": 2}, True, "coming", id="that was for an earlier job"),
        pytest.param("", {}, True, "coming", id="the node has not answered yet"),
        pytest.param("Pulling", {"progress": 40}, True, "coming", id="it is fetched"),
        pytest.param("Pulling", {"progress": 40}, False, "told", id="that takes long"),
        pytest.param("Pulling", {"failures": 1}, True, "told", id="that has failed once"),
        pytest.param("Waiting", {"reason": "NoSpace"}, True, "told", id="there is no space"),
        pytest.param("Failed", {}, True, "told", id="it cannot be fetched"),
    ],
)
async def test_pods_are_told_only_of_what_takes_long_or_fails(
    world: UpdateWorld, phase: str, status: dict[str, Any], quietly: bool, found: str
) -> None:
    jobs, clock = Informer(world.client, IMAGE_PULL_JOBS, world.metrics), FakeClock()
    pods, unasked = await _pods(world, 1), NodeImage(metadata=ObjectMeta(name="n1"))
    async with following(jobs):
        begun = await _announcing(world, jobs, clock, unasked).announce(_rollout(), pods, quietly=True)
        job = world.server.document("imagepulljobs", "web-2-app", "default")
        later = _announcing(world, jobs, clock, _image(job, phase, **status))

        answer = await later.announce(_rollout(), pods, quietly=quietly)

    uid = pods[0][0].metadata.uid
    assert list(begun.coming) == [uid]
    assert {
        "told": [pod.metadata.uid for pod in answer.told.values()],
        "prepared": list(answer.prepared),
        "coming": list(answer.coming),
    } == {"told": [], "prepared": [], "coming": [], found: [uid]}


@pytest.mark.parametrize(("image", "told"), [("repo/app:2", 0), ("No Image", 1)])
async def test_nobody_waits_for_an_image_that_no_job_brings(
    world: UpdateWorld, announcing: Announcing, image: str, told: int
) -> None:
    world.server.fail(Fault(status=403, verb="create", resource="imagepulljobs"))
    new = revision(container("app", image), container("side", "repo/side:1"))

    found = await announcing.announce(_rollout(new), await _pods(world, 1))

    assert len(found.told) == told


async def test_a_long_name_makes_a_label_that_is_short_enough(
    world: UpdateWorld, announcing: Announcing
) -> None:
    name = f"{'long-' * 20}6d9f"

    await announcing.announce(_rollout(revision_name=name), await _pods(world, 1))
    await announcing.announce(_rollout(revision_name=name), await _pods(world, 1))

    (job,) = world.server.storage.of("imagepulljobs").values()
    label = job["metadata"]["labels"][names.TEMPLATE_HASH_LABEL]
    assert (len(label) <= 63, label.endswith("6d9f")) == (True, True)


async def test_at_the_end_the_jobs_go_and_with_them_the_pins(
    world: UpdateWorld, announcing: Announcing
) -> None:
    await announcing.announce(_rollout(), await _pods(world, 1))

    await announcing.end(OWNER, "default")

    assert not world.server.storage.of("imagepulljobs")


async def test_a_pod_that_is_gone_or_another_one_costs_the_others_nothing(
    world: UpdateWorld, announcing: Announcing
) -> None:
    pods = await _pods(world, 1, 2, 3)
    world.server.remove("pods", "web-1", "default")
    world.server.remove("pods", "web-2", "default")
    world.make(OLD, name="web-2")

    told = await announcing.announce(_rollout(), pods)

    assert told.told.keys() == {Key("default", "web-3")}
    assert _told(world, "web-2") is None


@pytest.mark.parametrize("failing", ["web-1", "web-2", "web-3"])
async def test_a_pod_that_cannot_be_written_to_is_told_of_when_all_others_have_been_written_to(
    world: UpdateWorld, announcing: Announcing, failing: str
) -> None:
    pods = await _pods(world, 1, 2, 3)
    world.server.fail(Fault(status=403, verb="patch", resource="pods", name=failing))

    with pytest.raises(ForbiddenError):
        await announcing.announce(_rollout(), pods)

    told = [name for name in ("web-1", "web-2", "web-3") if _told(world, name) is not None]
    assert told == [name for name in ("web-1", "web-2", "web-3") if name != failing]
