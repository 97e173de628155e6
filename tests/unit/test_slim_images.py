"""What the controller keeps of NodeImages, and of jobs on them."""

import gc
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from daemon.kube.decoding import UndecodableError, decoded
from daemon.kube.patches import changes
from daemon.kube.resources import CLUSTER_NODE_IMAGES, NODE_IMAGES
from daemon.objects.images import (
    AgentStatus,
    ImagePullJob,
    ImageStatus,
    ImageTagStatus,
    NodeImage,
    NodeImageStatus,
    SandboxConfig,
)
from daemon.objects.meta import ObjectMeta
from daemon.pulljobs.index import ShareIndex
from daemon.pulljobs.tags import status_of, tag_of, with_job, without_job
from tests.unit.test_pulljobs_planner import NAME, NOW, asked, job, node, told


def sent(image: NodeImage) -> bytes:
    return msgspec.json.encode(image)


def kept(image: NodeImage) -> NodeImage:
    return decoded(CLUSTER_NODE_IMAGES, sent(image))


def saying(image: NodeImage, status: ImageTagStatus) -> NodeImage:
    said = NodeImageStatus(desired=1, image_statuses={NAME: ImageStatus(tags=(status,))})
    return replace(image, status=said)


def test_what_is_wanted_of_a_node_is_kept_whole() -> None:
    image = asked(node(), job(sandbox_config=SandboxConfig(labels={"a": "b"}), pull_secrets=("login",)))

    assert kept(image).spec == decoded(NODE_IMAGES, sent(image)).spec
    assert kept(image).metadata == image.metadata


def test_nodes_that_are_asked_the_same_share_what_is_said_of_it() -> None:
    one, other = (kept(told(asked(node(name), job()), "Succeeded")) for name in ("n1", "n2"))

    assert one.spec.images[NAME] is other.spec.images[NAME]
    assert one.status.image_statuses[NAME] is other.status.image_statuses[NAME]


def test_nodes_share_what_they_say_of_each_tag_of_a_repository() -> None:
    wanted = asked(asked(node(), job("u1")), job("u2", image=f"{NAME}:v2"))

    one, other = (kept(told(wanted, "Succeeded")).status.image_statuses[NAME].tags for _ in range(2))

    assert [tag.tag for tag in one] == ["v1", "v2"]
    assert all(mine is theirs for mine, theirs in zip(one, other, strict=True))


def test_nodes_that_are_asked_one_after_the_other_share_all_but_the_time() -> None:
    later = replace(node("n2"), spec=with_job(node("n2"), job(), NOW + timedelta(seconds=1), 300))
    one, other = (kept(each).spec.images[NAME].tags[0] for each in (asked(node("n1"), job()), later))

    assert one.created_at != other.created_at
    assert one.owner_references is other.owner_references
    assert one.pull_policy is other.pull_policy
    assert one.tag is other.tag


def test_that_a_pull_is_over_is_known_but_not_when_it_was() -> None:
    image = asked(node(), job())
    done = ImageTagStatus(tag="v1", phase="Succeeded", progress=100, start_time=NOW, completion_time=NOW)
    later = replace(done, completion_time=NOW + timedelta(seconds=9), image_id="sha256:1")

    one, other = (status_of(kept(saying(image, each)), job()) for each in (done, later))

    assert one is not None
    assert (one.phase, one.completion_time is None) == ("Succeeded", False)
    assert one is other


def test_a_pull_that_goes_on_is_not_over() -> None:
    going = ImageTagStatus(tag="v1", phase="Pulling", progress=40, start_time=NOW, message="4 of 10 MiB")

    found = status_of(kept(saying(asked(node(), job()), going)), job())

    assert found == ImageTagStatus(tag="v1", phase="Pulling")


@pytest.mark.parametrize("phase", ["Failed", "Waiting"])
def test_what_went_wrong_is_kept_word_for_word(phase: str) -> None:
    failed = ImageTagStatus(
        tag="v1",
        phase=phase,  # type: ignore[arg-type]
        message="manifest unknown",
        reason="ImageNotFound",
        failures=4,
    )

    assert status_of(kept(saying(asked(node(), job()), failed)), job()) == failed


def test_the_key_of_the_agent_is_kept() -> None:
    agent = AgentStatus(version="1.0", public_key="a2V5")

    assert kept(replace(node(), status=NodeImageStatus(agent=agent))).status.agent == agent


def test_a_change_of_the_spec_is_the_same_patch_as_of_the_whole_object() -> None:
    whole = told(asked(asked(node(), job("u1")), job("u2", image="registry.test/other:v1")), "Succeeded")

    def patch(image: NodeImage) -> object:
        changed = replace(image, spec=without_job(image, "u2"))
        return changes(image, replace(changed, spec=with_job(changed, job("u3"), NOW, 300)))

    assert patch(kept(whole)) == patch(whole)


def test_nulls_in_any_place_are_taken_for_absent() -> None:
    entry = {"tags": [{"tag": "v1", "pullPolicy": None, "ownerReferences": None}], "pullSecrets": None}
    document = {"metadata": {"name": "n1", "labels": None}, "spec": {"images": {NAME: entry}}, "status": None}

    found = decoded(CLUSTER_NODE_IMAGES, msgspec.json.encode(document))

    assert [tag.tag for tag in found.spec.images[NAME].tags] == ["v1"]


@pytest.mark.parametrize("spec", [{"images": {NAME: {"tags": [{}]}}}, {"images": []}])
def test_what_is_no_node_image_is_told(spec: object) -> None:
    document = {"metadata": {"name": "n1"}, "spec": spec}

    with pytest.raises(UndecodableError, match="is no NodeImage that can be read"):
        decoded(CLUSTER_NODE_IMAGES, msgspec.json.encode(document))


def _cluster(jobs: list[ImagePullJob], nodes: int) -> list[bytes]:
    """Nodes that have pulled for all jobs, each in its own time."""
    made = []
    for number in range(nodes):
        image = NodeImage(metadata=ObjectMeta(name=f"n{number}"))
        for each in jobs:
            image = asked(image, each)
        when = datetime(2026, 5, 1, second=number, tzinfo=UTC)
        done = ImageTagStatus(tag="v1", phase="Succeeded", completion_time=when, image_id=f"sha256:{number}")
        statuses = {name: ImageStatus(tags=(done,)) for name in image.spec.images}
        made.append(sent(replace(image, status=NodeImageStatus(image_statuses=statuses))))
    return made


def _memory_of(make: Callable[[], object]) -> int:
    """Bytes that are held by what *make* returns."""
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made
    return taken


def test_an_image_more_on_each_node_takes_less_than_128_bytes() -> None:
    jobs = [job(f"u{number}", image=f"registry.test/team/app-{number:03}:v1") for number in range(100)]
    first, *others = _cluster(jobs, 20)
    seen = decoded(CLUSTER_NODE_IMAGES, first)  # what is shared is there from now on

    taken = _memory_of(lambda: [decoded(CLUSTER_NODE_IMAGES, text) for text in others])

    assert tag_of(seen, jobs[-1]) is not None
    assert taken / (len(jobs) * len(others)) < 128


def test_where_a_job_stands_on_one_node_takes_less_than_160_bytes() -> None:
    jobs = [job(f"u{number}", image=f"registry.test/team/app-{number:03}:v1") for number in range(20)]
    done = [decoded(CLUSTER_NODE_IMAGES, text) for text in _cluster(jobs, 50)]

    def followed() -> ShareIndex:
        index = ShareIndex(default_ttl=300)
        for image in done:
            index.take_node(node(image.metadata.name), NOW)
        for each in jobs:
            shares = index.shares_of(each, NOW)
            for image in done:
                shares.ask(image.metadata.name)
        for image in done:
            index.take_node(replace(image, metadata=replace(image.metadata, generation=1)), NOW)
            index.settle(image.metadata.name, [each.metadata.uid for each in jobs], NOW)
        return index

    assert _memory_of(followed) / (len(jobs) * len(done)) < 160


def test_what_is_remembered_to_be_shared_does_not_grow_with_the_tags_of_a_repository() -> None:
    jobs = [job(f"u{number}", image=f"{NAME}:v{number}") for number in range(100)]
    texts = _cluster(jobs, 1)

    def forgotten() -> bool:
        for number in range(40):  # nodes of which each was asked at another time
            decoded(CLUSTER_NODE_IMAGES, texts[0].replace(b"2026-05-01", b"2026-05-%02d" % (number % 28 + 1)))
        return True

    assert _memory_of(forgotten) < 200_000
