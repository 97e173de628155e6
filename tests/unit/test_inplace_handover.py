"""What our controller leaves on a pod at each step of an update, OpenKruise's manager goes on with."""

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import names
from daemon.inplace.observing import Observed, Write
from daemon.inplace.planner import plan
from daemon.inplace.targets import Target
from tests.unit.inplace_world import SimulatedPod, digest, target_of
from tests.unit.openkruise import (
    GRACE,
    STATE,
    Batch,
    ImageStatus,
    Manager,
    Metadata,
    Ready,
    Resources,
    State,
    tell_metas,
)
from tests.unit.revisions import container, env_of, revision

REVISION = "web-7d9f"


def barrier(priority: int) -> dict[str, Any]:
    source = {"configMapKeyRef": {"name": "web-1-barrier", "key": f"p_{priority}"}}
    return {"name": "KRUISE_CONTAINER_BARRIER", "valueFrom": source}


def template(app: str, side: str, colour: str, size: str = "100m", note: str | None = "a") -> dict[str, Any]:
    """Of two containers the first changes first."""
    reads = env_of("COLOUR", "metadata.annotations['colour']")
    return revision(
        container("app", app, env=[barrier(9)], resources={"requests": {"cpu": size}}),
        container("side", side, env=[barrier(1), reads], resources={"requests": {"cpu": size}}),
        annotations={"colour": colour, **({"note": note} if note else {})},
    )


OLD = template("app:1", "side:1", "red")
CHANGES = {
    "image": template("app:2", "side:1", "red"),
    "environment": template("app:1", "side:1", "blue"),
    "image and environment": template("app:2", "side:1", "blue"),
    "both images": template("app:2", "side:2", "red"),
    "everything but size": template("app:2", "side:2", "blue", note=None),
    "labels and annotations": template("app:1", "side:1", "red", note="b"),
}


def step(world: SimulatedPod, target: Target) -> Write | None:
    """Our next write, if there is one."""
    tried = False
    while True:
        planned = plan(Observed(world.pod, target, world.now, tried=tried))
        if not isinstance(planned, Write):
            return None
        world.apply(planned)
        tried = planned.step == "Try"
        if not tried:
            return planned


def node(world: SimulatedPod) -> None:
    """What kubelet and agent do in the meantime."""
    world.kubelet()
    world.agent()
    tell_metas(world)
    world.pass_time(3)


@pytest.mark.parametrize("change", CHANGES)
@settings(max_examples=25)
@given(writes=st.integers(0, 6), idle=st.lists(st.booleans(), max_size=8), grace=st.sampled_from([0, 5]))
def test_its_manager_brings_to_an_end_what_was_left_at_any_step(
    change: str, writes: int, idle: list[bool], grace: int
) -> None:
    new = CHANGES[change]
    world, target = SimulatedPod(OLD), target_of(OLD, new, revision=REVISION, grace=float(grace))
    tell_metas(world)
    for number in range(writes):
        step(world, target)
        if number < len(idle) and idle[number]:
            node(world)
    begun = world.document["metadata"]["labels"]["controller-revision-hash"] == REVISION
    manager = Manager(world, REVISION)
    for _ in range(12):
        manager.refresh()
        node(world)

    wanted = (new if begun else OLD)["spec"]["template"]
    assert manager.refresh()
    assert world.serving
    assert world.is_true
    assert [each.image for each in world.pod.spec.containers] == [
        each["image"] for each in wanted["spec"]["containers"]
    ]
    annotations = world.document["metadata"]["annotations"]
    assert {key: annotations.get(key) for key in ("colour", "note")} == {
        key: wanted["metadata"]["annotations"].get(key) for key in ("colour", "note")
    }
    assert all(truth.restarts <= 1 for truth in world.truth.values())


def test_each_record_is_in_its_types_and_says_what_it_says() -> None:
    world, new = SimulatedPod(OLD), template("app:2", "side:2", "blue", size="200m", note=None)
    target = target_of(OLD, new, revision=REVISION, grace=5)
    manager = Manager(world, REVISION)
    size = {"requests": {"cpu": "200m"}}

    step(world, target)
    waiting = json.loads(world.document["metadata"]["annotations"][GRACE])
    before = manager.state()
    world.pass_time(5)
    step(world, target)
    after = manager.state()

    assert before is not None
    assert after is not None
    assert json.loads(base64.b64decode(waiting.pop("metaDataPatch"))) == {
        "metadata": {"annotations": {"note": None}}
    }
    assert waiting == {
        "revision": REVISION,
        "containerImages": {"app": "app:2", "side": "side:2"},
        "containerRefMetadata": {"side": {"creationTimestamp": None, "annotations": {"colour": "blue"}}},
        "containerResources": {"app": size, "side": size},
        "updateEnvFromMetadata": True,
        "graceSeconds": 5,
    }
    assert before == State(
        revision=REVISION,
        update_timestamp=before.update_timestamp,
        last_container_statuses=None,
        update_env_from_metadata=True,
        update_resources=True,
        update_images=True,
    )
    assert after == msgspec.structs.replace(
        before,
        last_container_statuses={"app": ImageStatus(digest("app:1"))},
        next_container_images={"side": "side:2"},
        next_container_ref_metadata={"side": Metadata(annotations={"colour": "blue"})},
        next_container_resources={"side": Resources(requests={"cpu": "200m"})},
        pre_check_before_next=Ready(["app"]),
        container_batches_record=[Batch(after.container_batches_record[0].timestamp, ["app"])],
    )
    assert GRACE not in world.document["metadata"]["annotations"]


def test_the_conditions_are_those_that_it_writes_and_looks_for() -> None:
    world, target = SimulatedPod(OLD), target_of(OLD, CHANGES["image"], revision=REVISION)

    step(world, target)
    out = world.condition(names.IN_PLACE_UPDATE_READY), world.condition(names.READY)
    step(world, target)
    node(world)
    step(world, target)
    back = world.condition(names.IN_PLACE_UPDATE_READY)

    assert [each["status"] for each in out] == ["False", "False"]
    assert out[0]["reason"] == "StartInPlaceUpdate"
    assert (back["status"], back.get("reason"), back.get("message")) == ("True", None, None)
    assert STATE in world.document["metadata"]["annotations"]
