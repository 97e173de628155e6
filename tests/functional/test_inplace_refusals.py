"""Updates of pods that the API server will not have: each pod serves on as it was until it will."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest

from daemon import names
from daemon.inplace.targets import Done, Failed, Waiting
from tests.fakes.apifaults import Fault
from tests.fakes.apistorage import Change
from tests.functional.update_world import UpdateWorld, update_world
from tests.unit.inplace_world import SimulatedPod, target_of
from tests.unit.revisions import container, env_of, revision

PLAIN = [revision(container("app", f"repo/app:{tag}")) for tag in (1, 2, 3)]


@pytest.fixture
async def world() -> AsyncIterator[UpdateWorld]:
    async with update_world() as made:
        yield made


async def test_a_change_that_the_server_refuses_leaves_the_pod_to_its_traffic(world: UpdateWorld) -> None:
    simulated, target = world.make(PLAIN[0]), target_of(*PLAIN[:2])
    world.server.fail(Fault(status=403, verb="patch", resource="pods"))

    refused = await world.advance(target)
    serving = world.load(simulated).serving
    waiting = await world.advance(target)
    world.clock.pass_by(60)
    await world.advance(target)

    assert isinstance(refused, Failed)
    assert refused.reason == "Refused"
    assert refused.untouched
    assert serving
    assert waiting == refused
    assert world.load(simulated).pod.spec.containers[0].image == "repo/app:2"


@pytest.fixture
def outages(world: UpdateWorld) -> list[str]:
    """Names of the pods that were taken out of traffic, each time that one is."""
    found: list[str] = []

    def note(change: Change) -> None:
        before = change.before or {}
        if change.plural == "pods" and _is_out(change.document) and not _is_out(before):
            found.append(change.document["metadata"]["name"])

    world.server.storage.listeners.append(note)
    return found


def _is_out(pod: Mapping[str, Any]) -> bool:
    conditions: Sequence[Mapping[str, Any]] = pod.get("status", {}).get("conditions", ())
    gate = {each["status"] for each in conditions if each["type"] == names.IN_PLACE_UPDATE_READY}
    return gate == {"False"}


async def test_a_change_that_is_refused_for_good_takes_its_pod_out_of_traffic_once_at_most(
    world: UpdateWorld, outages: list[str]
) -> None:
    simulated, target = world.make(PLAIN[0]), target_of(*PLAIN[:2])
    policy = world.server.fail(Fault(status=403, verb="patch", resource="pods", times=1000))

    answers = []
    for _ in range(5):
        answers.append(await world.advance(target))
        world.clock.pass_by(60)
    world.restart()
    answers.append(await world.advance(target))
    policy.times = 0
    world.clock.pass_by(60)
    await world.advance(target)
    world.node_acts(simulated)

    assert {type(each) for each in answers} == {Failed}
    assert outages == ["web-1", "web-1"], "once refused, once changed"
    assert await world.advance(target) == Done()


async def test_what_one_pod_is_refused_takes_no_other_out_of_traffic(
    world: UpdateWorld, outages: list[str]
) -> None:
    for name in ("web-1", "web-2", "web-3"):
        world.make(PLAIN[0], name)
    world.server.fail(Fault(status=403, verb="patch", resource="pods", times=1000))

    answers = [await world.advance(target_of(*PLAIN[:2]), name) for name in ("web-1", "web-2", "web-3")]

    assert {type(each) for each in answers} == {Failed}
    assert outages == ["web-1"]


async def test_a_refused_change_is_not_asked_for_again_before_its_time(world: UpdateWorld) -> None:
    world.make(PLAIN[0], "web-1")
    world.make(PLAIN[0], "web-2")
    world.server.fail(Fault(status=403, verb="patch", resource="pods", times=1000))
    for name in ("web-1", "web-2"):
        await world.advance(target_of(*PLAIN[:2]), name)
    asked = len(world.server.requests)
    world.clock.pass_by(20)

    answer = await world.advance(target_of(*PLAIN[:2]), "web-2")

    assert isinstance(answer, Failed)
    assert answer.look_again_in == pytest.approx(40)
    assert world.server.count("patch") == sum(each.verb == "patch" for each in world.server.requests[:asked])


async def test_another_revision_is_not_held_by_what_was_refused_before(
    world: UpdateWorld, outages: list[str]
) -> None:
    world.make(PLAIN[0])
    world.server.fail(Fault(status=403, verb="patch", resource="pods"))
    await world.advance(target_of(*PLAIN[:2]))

    await world.advance(target_of(*PLAIN[:2], revision="web-newer"))

    assert world.load(SimulatedPod(PLAIN[0])).pod.spec.containers[0].image == "repo/app:2"


async def test_with_a_grace_period_a_refused_change_leaves_the_pod_as_it_was(
    world: UpdateWorld, outages: list[str]
) -> None:
    simulated, target = world.make(PLAIN[0]), target_of(*PLAIN[:2], grace=5)
    before = simulated.document["metadata"]["labels"]
    world.server.fail(Fault(status=403, verb="patch", resource="pods", times=1000))

    answers = []
    for _ in range(3):
        answers.append(await world.advance(target))
        world.clock.pass_by(60)

    assert {type(each) for each in answers} == {Failed}
    assert outages == []
    assert world.load(simulated).document["metadata"]["labels"] == before


READS = [env_of("CONFIG", "metadata.annotations['config']")]
CONFIG = [
    revision(container("app", "repo/app:1", env=READS), annotations={"config": text})
    for text in ("one", "two")
]


def _policy(world: UpdateWorld) -> Fault:
    """From now on, no pod may change."""
    return world.server.fail(Fault(status=403, verb="patch", resource="pods", times=1000))


@pytest.mark.parametrize("revisions", [PLAIN[:2], CONFIG], ids=["image", "environment"])
async def test_a_change_that_is_refused_after_its_grace_period_gives_the_pod_back_until_it_is_let_through(
    world: UpdateWorld, outages: list[str], revisions: list[dict[str, Any]]
) -> None:
    simulated, target = world.make(revisions[0]), target_of(*revisions, grace=5)
    await world.advance(target)
    waiting = not world.load(simulated).serving
    policy = _policy(world)

    answers = []
    for _ in range(4):
        world.clock.pass_by(60)
        answers.append(await world.advance(target))
    world.restart()
    answers.append(await world.advance(target))
    serving, told = world.load(simulated).serving, list(outages)
    policy.times = 0
    world.clock.pass_by(60)
    again = await world.advance(target)
    world.clock.pass_by(5)
    await world.advance(target)
    world.node_acts(simulated)

    assert (waiting, serving, told) == (True, True, ["web-1"])
    assert {each.reason for each in answers if isinstance(each, Failed)} == {"Refused"}
    assert isinstance(again, Waiting)
    assert again.reason == "GracePeriod"
    assert await world.advance(target) == Done()
    assert world.load(simulated).is_true


async def test_a_pod_whose_change_was_refused_after_its_grace_period_is_rolled_back_without_a_restart(
    world: UpdateWorld, outages: list[str]
) -> None:
    simulated, target = world.make(PLAIN[0]), target_of(*PLAIN[:2], grace=5)
    await world.advance(target)
    policy = _policy(world)
    world.clock.pass_by(5)
    await world.advance(target)
    policy.times = 0

    ended = await world.advance(target_of(PLAIN[1], PLAIN[0], revision="web-old", grace=5))

    world.load(simulated)
    assert ended == Done()
    assert (simulated.serving, simulated.truth["app"].restarts, outages) == (True, 0, ["web-1"])
    assert names.GRACE_ANNOTATION not in simulated.document["metadata"]["annotations"]


def _ordered(tag: int) -> dict[str, Any]:
    """Of two containers, the one changes when the other is through."""
    keys = {"first": "p_2", "last": "p_1"}
    env = {
        name: {"name": names.BARRIER_VARIABLE, "valueFrom": {"configMapKeyRef": {"name": "b", "key": key}}}
        for name, key in keys.items()
    }
    return revision(*(container(name, f"repo/{name}:{tag}", env=[env[name]]) for name in keys))


async def test_a_pod_whose_last_containers_are_refused_their_change_serves_as_it_is_until_they_are_not(
    world: UpdateWorld, outages: list[str]
) -> None:
    old, new = _ordered(1), _ordered(2)
    simulated, target = world.make(old), target_of(old, new)
    await world.advance(target)
    world.node_acts(simulated)
    policy = _policy(world)

    refused = await world.advance(target)
    serving = world.load(simulated).serving
    policy.times = 0
    world.clock.pass_by(60)
    await world.advance(target)
    out = not world.load(simulated).serving
    world.node_acts(simulated)

    assert isinstance(refused, Failed)
    assert (serving, out) == (True, True)
    assert await world.advance(target) == Done()
    assert world.load(simulated).is_true
    assert {name: each.restarts for name, each in simulated.truth.items()} == {"first": 1, "last": 1}


async def test_a_pod_that_has_yet_to_restart_for_an_earlier_change_is_not_given_back_by_a_refusal(
    world: UpdateWorld, outages: list[str]
) -> None:
    simulated = world.make(PLAIN[0])
    await world.advance(target_of(*PLAIN[:2]))
    _policy(world)
    newer = target_of(*PLAIN[1:], revision="web-newer")

    refused = await world.advance(newer)
    serving = world.load(simulated).serving
    world.node_acts(simulated)
    await world.advance(newer)

    assert isinstance(refused, Failed)
    assert not refused.untouched
    assert (serving, world.load(simulated).serving) == (False, True)
