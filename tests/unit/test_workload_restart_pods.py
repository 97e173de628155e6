"""What of a pod a WorkloadRestart is about, and the request that it makes for it."""

from typing import Any

import msgspec
import pytest

from daemon import names
from daemon.objects.local_pods import Container
from daemon.objects.workload_restarts import RestartStrategy
from daemon.workloadrestarts.planner import Begin
from daemon.workloadrestarts.requests import request_for
from daemon.workloadrestarts.standing import chosen, is_concerned, problem_of, request_name
from tests.unit.restart_worlds import NOW, pod, restart


@pytest.mark.parametrize("change", [{"deletion_timestamp": NOW}, {"phase": "Succeeded"}, {"phase": "Failed"}])
def test_pods_that_go_or_are_over_do_not_count(change: dict[str, Any]) -> None:
    made = pod()
    if "phase" in change:
        changed = msgspec.structs.replace(made, status=msgspec.structs.replace(made.status, **change))
    else:
        changed = msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, **change))

    assert is_concerned(made)
    assert not is_concerned(changed)


def test_native_sidecars_are_meant_only_by_name() -> None:
    made = pod(containers=("app", "log"))
    sidecar = Container(name="proxy", restart_policy="Always")
    once = Container(name="init")
    spec = msgspec.structs.replace(made.spec, init_containers=(sidecar, once))
    made = msgspec.structs.replace(made, spec=spec)

    assert chosen(restart(), made) == ("app", "log")
    assert chosen(restart(containers=("proxy", "init", "log")), made) == ("log", "proxy")


def test_a_container_that_no_pod_has_is_a_mistake() -> None:
    problem = problem_of(restart(containers=("app", "typo")), [pod(containers=("app", "log"))])

    assert problem == "spec.containers[1]: no pod has a container typo; they have: app, log"
    assert problem_of(restart(containers=("typo",)), []) == ""


def test_the_request_passes_on_how_a_pod_is_treated() -> None:
    strategy = RestartStrategy(
        termination_grace_period_seconds=5,
        unready_grace_period_seconds=3,
        min_started_seconds=2,
        ordered_recreate=True,
    )
    made = request_for(restart(strategy=strategy), Begin(pod(), ("app",), 40))

    assert (made.spec.pod_name, [each.name for each in made.spec.containers]) == ("web-0", ["app"])
    assert made.spec.active_deadline_seconds == 40
    assert made.spec.strategy.termination_grace_period_seconds == 5
    assert made.spec.strategy.unready_grace_period_seconds == 3
    assert (made.spec.strategy.min_started_seconds, made.spec.strategy.ordered_recreate) == (2, True)
    assert made.metadata.labels == {names.RECREATE_POD_LABEL: "uid-web-0"}
    (owner,) = made.metadata.owner_references
    assert (owner.kind, owner.uid, owner.controller) == ("WorkloadRestart", "r1", True)


def test_a_request_has_one_name_for_a_pod_and_another_for_its_successor() -> None:
    made, about = restart(), pod()
    successor = msgspec.structs.replace(
        about, metadata=msgspec.structs.replace(about.metadata, uid="another")
    )

    assert request_name(made, about) == request_name(made, pod())
    assert request_name(made, about) != request_name(made, successor)


@pytest.mark.parametrize("name", ["r" * 253, f"{'r' * 229}.{'s' * 20}"])
def test_a_long_name_makes_a_name_that_is_allowed(name: str) -> None:
    made = restart()
    made = msgspec.structs.replace(made, metadata=msgspec.structs.replace(made.metadata, name=name))

    given = request_name(made, pod())

    assert len(given) <= 253
    assert given[-14] not in "-."
