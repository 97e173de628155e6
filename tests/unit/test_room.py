"""What pods take of their node, as the scheduler counts it."""

from daemon.localpods.room import (
    Room,
    free_of,
    is_taking,
    shortage,
    taken_by,
    taken_with,
    would_take,
)
from daemon.objects.local_nodes import LocalNode
from daemon.objects.local_pods import ResourceRequirements
from daemon.objects.meta import ObjectMeta
from tests.unit.resize_pods import MIB, pod, res

INFEASIBLE = {"type": "PodResizePending", "status": "True", "reason": "Infeasible"}


def test_containers_and_sidecars_add_up() -> None:
    both = pod(app=res("100m 64Mi"), more={"log": res("50m 32Mi")}, sidecars={"mesh": res("10m 16Mi")})

    assert taken_by(both) == Room(160, 112 * MIB)


def test_an_init_container_counts_beside_the_sidecars_before_it() -> None:
    heavy = pod(app=res("100m 64Mi"), sidecars={"mesh": res("10m 16Mi")}, inits={"load": res("1 8Mi")})

    assert taken_by(heavy) == Room(1010, 80 * MIB)


def test_what_the_pod_asks_for_as_a_whole_stands_for_its_containers() -> None:
    whole = pod(app=res("100m 64Mi"), spec={"resources": res("1 -")})

    assert taken_by(whole) == Room(1000, 64 * MIB)


def test_overhead_comes_on_top() -> None:
    assert taken_by(pod(app=res("100m 64Mi"), spec={"overhead": {"cpu": "5m"}})) == Room(105, 64 * MIB)


def test_a_pod_that_shrinks_takes_its_old_room_until_the_kubelet_has_acted() -> None:
    shrinking = pod(app=res("100m 64Mi"), status={"app": res("500m 256Mi")})

    assert taken_by(shrinking) == Room(500, 256 * MIB)


def test_a_pod_that_grows_takes_its_new_room_at_once() -> None:
    assert taken_by(pod(app=res("500m 64Mi"), status={"app": res("100m 64Mi")})) == Room(500, 64 * MIB)


def test_an_infeasible_wish_takes_nothing() -> None:
    stuck = pod(app=res("64 64Mi"), status={"app": res("100m 64Mi")}, conditions=[INFEASIBLE])

    assert taken_by(stuck) == Room(100, 64 * MIB)


def test_changes_are_counted_as_if_the_spec_said_so() -> None:
    changes = {"app": ResourceRequirements(requests={"cpu": "1", "memory": "64Mi"})}

    assert taken_with(pod(app=res("100m 64Mi")), changes) == Room(1000, 64 * MIB)
    assert would_take(pod(app=res("2 64Mi")), changes) == Room(1000, 64 * MIB)


def test_a_pod_that_has_ended_takes_nothing() -> None:
    ended = pod(more_status={"phase": "Succeeded"})
    node = LocalNode(metadata=ObjectMeta(name="n"))

    assert not is_taking(ended)
    assert free_of(node, [ended]) == Room()


def test_who_needs_no_more_of_a_resource_fits_however_little_is_left_of_it() -> None:
    assert Room(100, -5).holds(Room(100, 0))
    assert not Room(100, -5).holds(Room(100, 1))


def test_a_shortage_names_what_is_needed_and_what_is_free() -> None:
    assert shortage(Room(200, 0), Room(500, 0)) == "cpu 500m more is needed, 200m is free"
    assert shortage(Room(500, 0), Room(500, 0)) == ""
