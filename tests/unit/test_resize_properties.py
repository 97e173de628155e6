"""What holds for all nodes, whatever pods ask for: with a kubelet in miniature that does what it is told."""

import json
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon import names
from daemon.localpods.room import Room, is_taking, taken_by, taken_with
from daemon.objects import quantities
from daemon.objects.local_pods import LocalPod, ResourceRequirements
from daemon.objects.resizes import Outcome, wish_of, written
from daemon.resizes.checking import qos_of
from daemon.resizes.planner import plan
from daemon.resizes.plans import Observed, Plan, PodSeen, Resize
from daemon.resizes.targets import PARTS, defaulted, number, resizable, target_of
from tests.unit.resize_pods import MIB, numbers, pod, res, world

CPU = ("50m", "100m", "0.3", "500m", "0.8", "1")
MORE_CPU = ("1", "1.5", "2", "64")
MEMORY = ("32Mi", "64Mi", "96Mi", "0.25Gi", "1Gi")
MORE_MEMORY = ("48Mi", "1Gi", "1.5Gi", "1Ti")
HOSTILE = ("", "-1", "lots", "1e99", "nan", None, True, 5, 0.1, "0")
POLICIES = ("Wait", "Rollback")
EQUAL = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}


def chosen(random: Random, **choices: tuple[str, ...]) -> dict[str, str]:
    """Some of the resources, each with one of its quantities."""
    return {name: random.choice(texts) for name, texts in choices.items() if random.random() < 0.6}


def wanted(random: Random) -> dict[str, Any]:
    """What is asked of one container; of one in ten, something that no container can have."""
    part: dict[str, dict[str, Any]] = {
        "requests": chosen(random, cpu=CPU, memory=MEMORY),
        "limits": chosen(random, cpu=MORE_CPU, memory=MORE_MEMORY),
    }
    if random.random() < 0.05:
        resource = random.choice(("cpu", "memory", "gpu", "ephemeral-storage"))
        part[random.choice(PARTS)][resource] = random.choice(HOSTILE)
    return part


def asked(random: Random) -> str:
    """An annotation; one in twenty is none at all."""
    if random.random() < 0.05:
        return random.choice(("x", "{", "[]", '{"containers":{}}'))
    every = (("app",), ("app",), ("log",), ("log",), ("app", "log"), ("app", "log"), ("app", "db"))
    names_ = random.choice(every)
    wish: dict[str, Any] = {"containers": {name: wanted(random) for name in names_}}
    if random.random() < 0.5:
        wish |= {"onDeferred": random.choice(POLICIES), "onInfeasible": random.choice(POLICIES)}
        wish["deadlineSeconds"] = random.choice((0, 60))
    return json.dumps(wish)


def spec(random: Random) -> dict[str, dict[str, str]]:
    """Resources of a container, as the API server completes them."""
    limits = chosen(random, cpu=("2",), memory=("1Gi",))
    return {"requests": {**limits, "cpu": "100m", **chosen(random, memory=("64Mi",))}, "limits": limits}


def running(random: Random, name: str) -> LocalPod:
    """A running pod that asks for something."""
    both = (spec(random), spec(random))
    app, log = random.choice((both, both, both, both, both, both, (EQUAL, EQUAL), ({}, {})))
    return pod(
        name,
        wish=asked(random),
        app=app,
        more={"log": log},
        qos=qos_of(pod(name, app=app, more={"log": log}), {}),
        spec={"priority": random.randrange(3)},
    )


@dataclass
class Node:
    """A node whose kubelet follows the spec at once, where there is room."""

    pods: dict[str, LocalPod]
    usage: dict[str, int]
    cpu: int
    memory: int
    others: Room
    sent: list[Resize] = field(default_factory=list)

    def observed(self) -> Observed:
        seen = [
            PodSeen(
                each,
                numbers=numbers(each),
                usage={"app": self.usage[name] * MIB, "log": self.usage[name] * MIB},
            )
            for name, each in self.pods.items()
        ]
        return world(*seen, cpu=self.cpu, memory=self.memory, others=self.others)

    @property
    def taken(self) -> Room:
        total = self.others
        for each in self.pods.values():
            total = total.plus(taken_by(each))
        return total

    def take(self, made: Plan) -> None:
        """Do what the plan says, step by step, and remember what it tells."""
        for step in made.steps:
            assert isinstance(step, Resize)
            self.sent.append(step)
            name = step.pod.metadata.name
            self.pods[name] = _patched(self.pods[name], step)
        for verdict in made.verdicts:
            name = verdict.pod.metadata.name
            annotations = {
                **self.pods[name].metadata.annotations,
                names.RESIZE_RECORD_ANNOTATION: written(verdict.record),
            }
            metadata = msgspec.structs.replace(self.pods[name].metadata, annotations=annotations)
            self.pods[name] = msgspec.structs.replace(self.pods[name], metadata=metadata)

    def act(self) -> None:
        """Have the kubelet bring everything into force."""
        self.pods = {name: _in_force(each) for name, each in self.pods.items()}


def _patched(old: LocalPod, step: Resize) -> LocalPod:
    """What the API server makes of it, which completes requests."""
    document: Any = msgspec.to_builtins(old)
    for each in document["spec"]["containers"]:
        for value in step.values:
            if value.container == each["name"]:
                each.setdefault("resources", {}).setdefault(value.part, {})[value.resource] = value.quantity
    for each in document["spec"]["containers"]:
        whole = defaulted(msgspec.convert(each.get("resources", {}), ResourceRequirements))
        each["resources"] = msgspec.to_builtins(whole)
    return msgspec.convert(document, LocalPod)


def _in_force(old: LocalPod) -> LocalPod:
    document: Any = msgspec.to_builtins(old)
    specs = {each["name"]: each.get("resources", {}) for each in document["spec"]["containers"]}
    for each in document["status"]["containerStatuses"]:
        each["resources"] = specs[each["name"]]
        each["allocatedResources"] = specs[each["name"]].get("requests", {})
    return msgspec.convert(document, LocalPod)


def node_of(seed: int) -> Node:
    """A node with a few pods on it."""
    random = Random(seed)
    found = {name: running(random, name) for name in "abcdef"[: random.randint(1, 6)]}
    usage = {name: random.choice((1, 30, 60, 100, 500)) for name in found}
    node = Node(found, usage, 0, 0, random.choice((Room(), Room(500, 512 * MIB))))
    node.cpu = node.taken.cpu + random.choice((0, 300, 700, 1500))
    node.memory = node.taken.memory + random.choice((64, 512, 2048)) * MIB
    return node


def nodes() -> st.SearchStrategy[Node]:
    """Any such node: chosen evenly, as what is wanted means little where it is small."""
    return st.integers(0, 2**32 - 1).map(node_of)


def _broken_rules(before: LocalPod, after: LocalPod) -> list[str]:
    """What ValidatePodResize would say, written down a second time."""
    found = ["the QoS class changes"] if before.status.qos_class != qos_of(after, {}) else []
    for name, container in resizable(after).items():
        old = resizable(before)[name].resources
        for part in PARTS:
            was, now = getattr(old, part), getattr(container.resources, part)
            found += [f"{name} loses {key}" for key in was.keys() - now.keys()]
            found += [
                f"{name} changes {key}"
                for key in now
                if key not in quantities.RESIZABLE and now[key] != was.get(key)
            ]
            found += [
                f"{name} has no number {now[key]}"
                for key in now
                if number(now[key]) is None or quantities.parse(now[key]) < 0
            ]
        limits = container.resources.limits
        found += [
            f"{name} asks for more {key} than its limit"
            for key, text in container.resources.requests.items()
            if key in limits and quantities.parse(text) > quantities.parse(limits[key])
        ]
    return found


@given(nodes())
@settings(max_examples=150)
def test_the_steps_never_take_more_than_the_node_has(node: Node) -> None:
    start = node.taken
    for _ in range(3):
        for step in plan(node.observed()).steps:
            assert isinstance(step, Resize)
            node.take(Plan(steps=(step,)))
            assert node.taken.cpu <= max(node.cpu, start.cpu)
            assert node.taken.memory <= max(node.memory, start.memory)
        node.act()


@given(nodes())
@settings(max_examples=150)
def test_no_patch_is_sent_that_the_api_server_refuses_for_what_can_be_known(node: Node) -> None:
    for _ in range(3):
        for step in plan(node.observed()).steps:
            assert isinstance(step, Resize)
            before = node.pods[step.pod.metadata.name]
            assert step.pod.metadata.uid == before.metadata.uid
            assert step.values, "it changes something"
            after = _patched(before, step)
            assert _broken_rules(before, after) == []
            assert Room(node.cpu, node.memory).holds(_asked(after))
            node.take(Plan(steps=(step,)))
        node.act()


def _asked(pod_: LocalPod) -> Room:
    return taken_by(_in_force(pod_))


@given(nodes())
@settings(max_examples=150)
def test_every_node_comes_to_rest(node: Node) -> None:
    for _ in range(6):
        node.take(plan(node.observed()))
        node.act()

    last = plan(node.observed())
    sent = len(node.sent)
    node.take(last)
    assert (last.steps, len(node.sent)) == ((), sent)
    assert not any(each.begins for each in last.verdicts)
    assert {each.pod.metadata.name for each in last.verdicts} == set(node.pods), "nobody is left guessing"


@given(nodes())
@settings(max_examples=150)
def test_whoever_waits_for_room_does_not_fit(node: Node) -> None:
    for _ in range(6):
        node.take(plan(node.observed()))
        node.act()
    free = Room(node.cpu, node.memory).less(node.taken)

    for each in plan(node.observed()).verdicts:
        if each.outcome is Outcome.DEFERRED:
            asked = wish_of(each.pod.metadata.annotations[names.RESOURCES_ANNOTATION])
            more = taken_with(each.pod, target_of(each.pod, asked)).less(taken_by(each.pod))
            assert not free.holds(more)


@given(nodes())
def test_pods_that_end_are_left_alone(node: Node) -> None:
    ended = {
        name: msgspec.structs.replace(each, status=msgspec.structs.replace(each.status, phase="Failed"))
        for name, each in node.pods.items()
    }
    node.pods = ended

    assert not any(is_taking(each) for each in node.pods.values())
    assert plan(node.observed()) == Plan()


def test_the_miniature_is_as_the_real_one_where_it_matters() -> None:
    wanted = json.dumps({"containers": {"app": res("-", "1")}})
    free = pod(wish=wanted, app=res("- 64Mi"))
    (step,) = plan(world(free)).steps

    assert isinstance(step, Resize)
    after = _patched(free, step)
    assert dict(after.spec.containers[0].resources.requests) == {"cpu": "1", "memory": "64Mi"}
