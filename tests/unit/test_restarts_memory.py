"""When a change of a pod has settled, so that a container that is stopped then starts with it."""

from daemon.restarts.memory import RELIST, PodMemory

DEBOUNCE = 0.05


def test_a_change_of_a_pod_at_rest_settles_at_once() -> None:
    memory = PodMemory()

    memory.note_update(100.0, DEBOUNCE, wanted=True)

    assert memory.settled_at == 100.0 + DEBOUNCE


def test_a_change_right_after_another_waits_until_the_kubelet_has_looked_again() -> None:
    memory = PodMemory()

    memory.note_update(100.0, DEBOUNCE, wanted=False)
    memory.note_update(101.0, DEBOUNCE, wanted=True)

    assert memory.settled_at == 101.0 + RELIST


def test_so_does_one_right_after_a_container_has_started() -> None:
    memory = PodMemory()

    memory.note_start(100.0)
    memory.note_update(101.0, DEBOUNCE, wanted=True)

    assert memory.settled_at == 101.0 + RELIST


def test_a_start_makes_nothing_wait_that_has_settled() -> None:
    memory = PodMemory()

    memory.note_update(100.0, DEBOUNCE, wanted=True)
    memory.note_start(101.0)

    assert memory.settled_at == 100.0 + DEBOUNCE
