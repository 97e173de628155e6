"""Whose agents are silent: measured by this process's clock alone, with time to begin."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from daemon.pulljobs.silence import Signs, Silence
from tests.fakes.clock import NOON, FakeClock


class Ward:
    """Nodes whose agents speak or not, as the test says."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.alive: set[str] = set()
        self.begun: set[str] = set()
        self.nodes = ["n1", "n2"]
        self.told: list[Mapping[str, datetime]] = []
        signs = Signs(
            nodes=lambda: self.nodes,
            alive=lambda node: node in self.alive,
            begun=lambda node: node in self.begun,
            lapse=50.0,
        )
        self.silence = Silence(signs, self.clock, lambda silent: self.told.append(dict(silent)), patience=60)

    def look_after(self, seconds: float) -> None:
        self.clock.pass_by(seconds)
        self.silence.look()


def test_nobody_is_told_of_agents_that_speak() -> None:
    ward = Ward()
    ward.alive = {"n1", "n2"}

    ward.look_after(0)
    ward.look_after(1000)

    assert ward.told == []


def test_an_agent_whose_lease_lapsed_is_silent_since_its_last_sign() -> None:
    ward = Ward()
    ward.alive, ward.begun = {"n2"}, {"n1", "n2"}

    ward.look_after(100)

    assert ward.told == [{"n1": NOON + timedelta(seconds=50)}]


def test_silence_is_told_once_and_its_beginning_does_not_move() -> None:
    ward = Ward()
    ward.alive, ward.begun = {"n2"}, {"n1", "n2"}

    ward.look_after(100)
    ward.look_after(100)

    assert len(ward.told) == 1


def test_an_agent_that_never_spoke_has_time_to_begin() -> None:
    ward = Ward()
    ward.alive = {"n2"}

    ward.look_after(0)
    ward.look_after(59)
    before = list(ward.told)
    ward.look_after(1)

    assert before == []
    assert ward.told == [{"n1": NOON}]


def test_a_node_that_comes_later_has_as_long() -> None:
    ward = Ward()
    ward.alive = {"n1", "n2"}
    ward.look_after(1000)
    ward.nodes.append("n3")

    ward.look_after(0)
    ward.look_after(59)

    assert ward.told == []


def test_who_speaks_again_is_told_of_and_has_its_time_anew() -> None:
    ward = Ward()
    ward.alive = {"n2"}
    ward.look_after(0)
    ward.look_after(60)

    ward.alive.add("n1")
    ward.look_after(1)
    ward.alive.discard("n1")
    ward.look_after(1)

    assert ward.told[1:] == [{}]


def test_a_node_that_left_is_no_longer_silent() -> None:
    ward = Ward()
    ward.alive, ward.begun = {"n2"}, {"n1", "n2"}
    ward.look_after(100)

    ward.nodes.remove("n1")
    ward.look_after(1)

    assert ward.told[-1] == {}
