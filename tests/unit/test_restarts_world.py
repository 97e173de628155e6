"""Agent, controller and kubelet in any order, with deaths in between: each change leads to one restart."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import names
from daemon.localpods.conditions import condition_of
from daemon.objects.local_pods import LocalPod
from daemon.objects.planned_restarts import counted, planned_restarts
from daemon.objects.restart_grants import grant_of
from daemon.objects.running_containers import has_moved
from daemon.restartgrants import planner as granting
from daemon.restarts.memory import RELIST, PodMemory
from daemon.restarts.planner import plan
from daemon.restarts.plans import Plan, Stop
from tests.unit.restarting_pods import READY, id_of, record, running, waiting, web, with_annotations

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
DEBOUNCE = 0.05


@dataclass
class World:
    """One pod with one container, and who looks after it."""

    owned: bool
    pod: LocalPod = field(init=False)
    time: float = 1000.0
    number: int = 1
    """Of the container that the runtime has."""
    colour: str = "red"
    """With which it was started."""
    is_running: bool = True
    stopping: list[Stop] = field(default_factory=list)
    """Begun by the agent that lives now, not done yet."""
    has_died: bool = False
    """The agent, after which what it had announced is done whatever was changed back."""
    ended_by_us: set[str] = field(default_factory=set)
    memory: PodMemory = field(default_factory=PodMemory)

    def __post_init__(self) -> None:
        self.pod = web(owned=self.owned, conditions=(READY,))

    def monotonic(self) -> float:
        return self.time

    def now(self) -> datetime:
        return START + timedelta(seconds=self.time)

    def wanted(self) -> str:
        return self.pod.metadata.annotations["colour"]

    def take(self, pod: LocalPod) -> None:
        """The agent sees the pod as it is stored now."""
        before, self.pod = self.pod, pod
        if before.metadata.annotations != pod.metadata.annotations:
            self.memory.note_update(self.time, DEBOUNCE, wanted=has_moved(before, pod))

    def change(self, colour: str) -> None:
        self.take(with_annotations(self.pod, {"colour": colour}))

    def pass_time(self, seconds: float) -> None:
        self.time += seconds

    def agent_works(self) -> None:
        made = self._plan()
        for look in made.looks:
            assert look.container_id == id_of(self.number) or not self.is_running
            alive = look.container_id == id_of(self.number) and self.is_running
            self.memory.note_record(look.container_id, record(self.colour, is_running=alive), self.time)
        if made.looks:
            made = self._plan()
        self.memory.note_drift(made.drifting, self.time)
        if made.report is not None:
            told = {**made.report.annotations, **counted(self.pod, made.report.stopped)}
            self.take(with_annotations(self._conditioned(made), told))
        for stop in made.stops:
            assert stop.container_id == id_of(self.number)
            assert self.colour != self.wanted() or self.has_died
            assert stop.container_id not in {each.container_id for each in self.stopping}
            self.memory.begin_stop(stop.container_id, stop.name, stop.fingerprint)
            self.stopping.append(stop)

    def _plan(self) -> Plan:
        return plan(self.memory.observed(self.pod, self))

    def _conditioned(self, made: Plan) -> LocalPod:
        assert made.report is not None
        told = {each.type for each in made.report.conditions}
        kept = [each for each in self.pod.status.conditions if each.type not in told]
        status = msgspec.structs.replace(self.pod.status, conditions=(*kept, *made.report.conditions))
        return msgspec.structs.replace(self.pod, status=status)

    def stop_ends(self) -> None:
        for stop in self.stopping:
            if self.is_running and stop.container_id == id_of(self.number):
                self.is_running = False
                self.ended_by_us.add(stop.container_id)
            self.memory.end_stop(stop.container_id)
        self.stopping.clear()

    def agent_dies(self) -> None:
        """A stop that was begun may have come through, or not: here the runtime was not told yet."""
        self.stopping.clear()
        self.has_died = True
        self.memory = PodMemory(updated_at=self.time, settled_at=self.time + RELIST)

    def controller_works(self) -> None:
        if not self.owned:
            return
        for grant in granting.plan(
            granting.Observed(pods=[self.pod], now=self.now(), monotonic=self.time, strategy="stop")
        ).grants:
            self.take(with_annotations(self.pod, {names.GRANT_ANNOTATION: grant_of(grant.containers)}))

    def kubelet_starts(self) -> None:
        if not self.is_running:
            self.number += 1
            self.colour, self.is_running = self.wanted(), True

    def kubelet_tells(self) -> None:
        number = self.number
        status = running(number, restarts=number - 1) if self.is_running else waiting(number)
        every = msgspec.structs.replace(self.pod.status, container_statuses=(status,))
        self.take(msgspec.structs.replace(self.pod, status=every))

    def settle(self) -> None:
        """All of them work until nothing is left to do."""
        for _ in range(12):
            self.pass_time(RELIST)
            self.agent_works()
            self.controller_works()
            self.agent_works()
            self.stop_ends()
            self.agent_works()
            self.kubelet_starts()
            self.kubelet_tells()
            self.agent_works()


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("change"), st.sampled_from(["red", "blue", "green"])),
        st.tuples(st.just("pass_time"), st.sampled_from([0.02, 0.06, 1.3, 4.0])),
        st.tuples(
            st.sampled_from(
                [
                    "agent_works",
                    "controller_works",
                    "stop_ends",
                    "agent_dies",
                    "kubelet_starts",
                    "kubelet_tells",
                ]
            )
        ),
    ),
    max_size=25,
)


@pytest.mark.parametrize("owned", [False, True])
@given(events=EVENTS)
def test_whatever_happens_in_between_all_ends_in_sync_and_counted(
    owned: bool, events: list[tuple[str, ...]]
) -> None:
    world = World(owned)
    world.agent_works()

    for name, *arguments in events:
        getattr(world, name)(*arguments)
    world.settle()

    assert (world.colour, world.is_running) == (world.wanted(), True)
    told = condition_of(world.pod, names.CONTAINERS_IN_SYNC)
    assert told is not None
    assert (told.status, told.reason) == ("True", "InSync")
    assert names.GRANT_ANNOTATION not in world.pod.metadata.annotations
    assert planned_restarts(world.pod).get("app", 0) == len(world.ended_by_us) == world.number - 1


@pytest.mark.parametrize("owned", [False, True])
@given(colours=st.lists(st.sampled_from(["blue", "green", "red"]), min_size=1, max_size=4))
def test_changes_that_come_one_after_another_lead_to_one_restart_each(
    owned: bool, colours: list[str]
) -> None:
    world = World(owned)
    world.agent_works()
    different = [new for old, new in zip(["red", *colours], colours, strict=False) if new != old]

    for colour in colours:
        world.change(colour)
        world.settle()

    assert world.number - 1 == len(different)
    assert planned_restarts(world.pod).get("app", 0) == len(different)
