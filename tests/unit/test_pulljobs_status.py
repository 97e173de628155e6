"""What the status of a job says at each point of its life, in words and conditions."""

from datetime import timedelta

import msgspec
import pytest

from daemon.objects.images import (
    CompletionPolicy,
    ImagePullJob,
    ImagePullJobStatus,
    NodeImage,
    NodeSelector,
)
from daemon.objects.meta import LabelSelector, condition_of
from daemon.pulljobs.index import ShareIndex
from daemon.pulljobs.planner import Ask, Drop, Observed, Plan, plan
from daemon.pulljobs.shares import Followed
from tests.unit.test_pulljobs_planner import NOW, asked, job, node, planned, told

LATER = NOW + timedelta(seconds=30)


def conditions(made: Plan) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in made.status.conditions}


def words(made: Plan) -> str:
    ready = condition_of(made.status.conditions, "Ready")
    assert ready is not None
    return ready.message


def begun(pull: ImagePullJob) -> ImagePullJob:
    return msgspec.structs.replace(pull, status=ImagePullJobStatus(start_time=NOW, observed_generation=1))


def bounded(seconds: int, type_: str = "Always") -> ImagePullJob:
    policy = CompletionPolicy(type=type_, active_deadline_seconds=seconds)  # type: ignore[arg-type]
    return begun(job(completion_policy=policy, parallelism=9))


def test_a_job_that_nobody_has_begun_has_no_progress() -> None:
    made = planned(job(parallelism=0), [node("n1"), node("n2")])

    assert made.status.message == "job is running, no progress"
    assert words(made) == "0 of 2 nodes are done, parallelism is 0"
    assert conditions(made)["Ready"] == ("False", "Paused")


def test_a_job_that_moves_tells_its_progress() -> None:
    pull = job(parallelism=1)
    nodes = [told(asked(node("n1"), pull), "Succeeded"), told(asked(node("n2"), pull), "Failed"), node("n3")]

    made = planned(pull, nodes)

    assert made.status.message == "job is running, progress 66.7%"
    assert words(made) == "2 of 3 nodes are done"
    assert conditions(made) == {
        "Ready": ("False", "Pulling"),
        "Reconciling": ("True", "Pulling"),
        "Stalled": ("False", "Pulling"),
    }
    assert (made.status.desired, made.status.active) == (3, 1)
    assert (made.status.succeeded, made.status.failed, made.status.failed_nodes) == (1, 1, ("n2",))


def test_a_paused_job_that_has_moved_tells_how_far() -> None:
    pull = job(parallelism=0)

    made = planned(pull, [told(asked(node("n1"), pull), "Succeeded"), node("n2")])

    assert made.status.message == "job is running, progress 50.0%"
    assert conditions(made)["Reconciling"] == ("False", "Paused")


def test_a_paused_job_whose_nodes_still_work_is_not_called_paused() -> None:
    pull = job(parallelism=0)

    made = planned(pull, [told(asked(node("n1"), pull), "Pulling"), node("n2")])

    assert conditions(made)["Reconciling"] == ("True", "Pulling")
    assert words(made) == "0 of 2 nodes are done"


def test_a_node_that_was_asked_and_said_nothing_is_active() -> None:
    pull = job()

    made = planned(pull, [asked(node(), pull)])

    assert (made.actions, made.status.active) == ((), 1)


def test_the_start_of_a_job_does_not_move() -> None:
    first = planned(job(), [node()])
    pull = msgspec.structs.replace(job(), status=first.status)

    second = planned(pull, [node()], LATER)

    assert (first.status.start_time, second.status.start_time) == (NOW, NOW)
    ended = planned(pull, [told(asked(node(), pull), "Succeeded")], LATER)
    assert (ended.status.start_time, ended.status.completion_time) == (NOW, LATER)


def test_a_job_that_has_ended_well_is_ready() -> None:
    pull = job(parallelism=9)

    made = planned(pull, [told(asked(node(name), pull), "Succeeded") for name in ("n1", "n2")])

    assert words(made) == "2 of 2 nodes have the image"
    assert conditions(made) == {
        "Ready": ("True", "Completed"),
        "Reconciling": ("False", "Completed"),
        "Stalled": ("False", "Completed"),
    }


def test_a_failure_without_a_reason_has_a_general_one() -> None:
    pull = job()

    made = planned(pull, [told(asked(node(), pull), "Failed", "broken")])

    assert conditions(made)["Stalled"] == ("True", "PullFailed")


@pytest.mark.parametrize(
    ("pull", "message"),
    [
        (
            job(selector=NodeSelector(names=("elsewhere",))),
            "the selector matches no node; there is nothing to do",
        ),
        (
            job(pod_selector=LabelSelector(match_labels={"app": "web"})),
            "podSelector selects no node: there are no pods in standalone mode; use selector",
        ),
    ],
    ids=["selector", "pod selector"],
)
def test_a_job_without_nodes_ends_and_says_why(pull: ImagePullJob, message: str) -> None:
    made = planned(pull, [node()])

    assert words(made) == message
    assert conditions(made)["Ready"] == ("True", "NoNodes")
    assert made.status.completion_time == NOW


def test_a_lasting_job_whose_nodes_are_served_is_ready_but_not_over() -> None:
    pull = job(completion_policy=CompletionPolicy(type="Never"))

    made = planned(pull, [told(asked(node(), pull), "Succeeded")])

    assert conditions(made)["Ready"] == ("True", "Completed")
    assert conditions(made)["Reconciling"] == ("False", "Completed")
    assert made.status.message == "job is running, progress 100.0%"


def test_a_lasting_job_without_nodes_waits_for_some() -> None:
    made = planned(job(completion_policy=CompletionPolicy(type="Never")), [])

    assert made.status.completion_time is None
    assert made.status.message == "job is running, no progress"


@pytest.mark.parametrize("type_", ["Always", "Never"])
def test_a_deadline_that_has_passed_ends_only_what_is_not_done(type_: str) -> None:
    pull = bounded(30, type_)
    served, pulling = told(asked(node("n1"), pull), "Succeeded"), told(asked(node("n2"), pull), "Pulling")

    late = planned(pull, [served, pulling, node("n3")], LATER)
    done = planned(pull, [served], LATER)

    assert late.status.message == "job exceeds activeDeadlineSeconds"
    assert (late.status.succeeded, late.status.failed, late.status.failed_nodes) == (1, 2, ("n2", "n3"))
    assert words(late) == "2 of 3 nodes were not done in time: n2, n3"
    assert conditions(late)["Stalled"] == ("True", "DeadlineExceeded")
    assert late.actions == (Drop("n1"), Drop("n2"))
    assert (done.status.failed, done.status.succeeded) == (0, 1)
    assert conditions(done)["Ready"] == ("True", "Completed")


def test_the_deadline_of_a_new_job_counts_from_now() -> None:
    made = planned(job(completion_policy=CompletionPolicy(active_deadline_seconds=60)), [node()], LATER)

    assert made.wake_in == pytest.approx(60.0)


def test_a_deadline_that_is_still_to_come_ends_nothing() -> None:
    made = planned(bounded(31), [node()], LATER)

    assert made.actions == (Ask("n1"),)
    assert made.wake_in == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("late", "listed"), [(5, "n0, n1, n2, n3, n4"), (7, "n0, n1, n2, n3, n4 and 2 more")]
)
def test_not_more_than_five_late_nodes_are_named(late: int, listed: str) -> None:
    made = planned(bounded(30), [node(f"n{number}") for number in range(late)], LATER)

    assert words(made) == f"{late} of {late} nodes were not done in time: {listed}"
    assert len(made.status.failed_nodes) == late


@pytest.mark.parametrize(
    ("parallelism", "asks"),
    [(None, 1), (3, 3), (0, 0), ("2", 2), ("0%", 0), ("1%", 1), ("50%", 3), ("51%", 4), ("100%", 6), (99, 6)],
)
def test_parallelism_is_a_number_or_a_share_of_the_nodes(parallelism: int | str | None, asks: int) -> None:
    made = planned(job(parallelism=parallelism), [node(f"n{number}") for number in range(6)])

    assert len(made.actions) == asks


def test_less_parallelism_than_nodes_at_work_takes_none_back() -> None:
    pull = job(parallelism=1)
    working = [told(asked(node(name), pull), "Pulling") for name in ("n1", "n2")]

    made = planned(pull, [*working, node("n3")])

    assert (made.actions, made.status.active) == ((), 2)


def test_a_node_that_is_no_longer_selected_gives_its_share_up() -> None:
    before = job(parallelism=9)
    nodes = [told(asked(node(name), before), "Pulling") for name in ("n1", "n2")]

    made = planned(job(parallelism=9, selector=NodeSelector(names=("n2",)), generation=2), nodes)

    assert made.actions == (Drop("n1"),)
    assert made.status.desired == 1


def test_a_node_keeps_the_current_share_when_it_loses_an_old_one() -> None:
    old, new = job(image="registry.test/app:old"), job()

    made = planned(new, [asked(asked(node(), old), new)])

    assert made.actions == (Drop("n1", keep_current=True),)


def test_the_condition_of_an_edited_job_keeps_its_time_until_its_status_changes() -> None:
    first = planned(job(), [node()])
    running = msgspec.structs.replace(job(), status=first.status)

    second = planned(running, [node()], LATER)
    ended = planned(running, [told(asked(node(), running), "Succeeded")], LATER)

    assert {each.last_transition_time for each in second.status.conditions} == {NOW}
    assert {each.type for each in ended.status.conditions if each.last_transition_time == LATER} == {
        "Ready",
        "Reconciling",
    }


def test_a_node_that_sees_the_common_deadline_first_does_not_change_what_the_job_says() -> None:
    pull = bounded(30)
    failed = told(asked(node("n1"), pull), "Failed", "pulling exceeds it", "DeadlineExceeded")

    made = planned(pull, [failed, told(asked(node("n2"), pull), "Succeeded")], NOW + timedelta(seconds=29))

    assert made.status.message == "job exceeds activeDeadlineSeconds"
    assert conditions(made)["Stalled"] == ("True", "DeadlineExceeded")
    assert words(made) == "1 of 2 nodes were not done in time: n1"
    assert (made.status.succeeded, made.status.failed, made.status.failed_nodes) == (1, 1, ("n1",))
    assert made.status.completion_time is not None


def test_nodes_that_saw_the_deadline_first_are_counted_once() -> None:
    pull = bounded(30)
    failed = told(asked(node("n1"), pull), "Failed", "pulling exceeds it", "DeadlineExceeded")

    made = planned(pull, [failed, told(asked(node("n2"), pull), "Pulling"), node("n3")], LATER)

    assert words(made) == "3 of 3 nodes were not done in time: n1, n2, n3"
    assert (made.status.failed, made.status.failed_nodes) == (3, ("n1", "n2", "n3"))


def test_a_job_without_a_deadline_has_completed_whatever_a_node_says() -> None:
    pull = job()

    made = planned(pull, [told(asked(node(), pull), "Failed", "late", "DeadlineExceeded")])

    assert made.status.message == "job has completed"


@pytest.mark.parametrize(
    ("pull", "field"),
    [
        (job(image="Not An Image"), "spec.image"),
        (job(parallelism="many"), "spec.parallelism"),
        (job(parallelism=-1), "spec.parallelism"),
        (job(selector=NodeSelector(), pod_selector=LabelSelector()), "spec.podSelector"),
    ],
    ids=["image", "word", "negative", "two selectors"],
)
def test_a_job_that_cannot_be_carried_out_says_which_field_is_wrong(pull: ImagePullJob, field: str) -> None:
    made = planned(pull, [node()])

    assert made.actions == ()
    assert conditions(made)["Stalled"] == ("True", "Invalid")
    assert words(made).startswith(field)
    assert made.status.observed_generation == 1


def test_a_job_that_was_edited_into_nonsense_gives_its_shares_up() -> None:
    before = job()

    made = planned(job(image="Not An Image", generation=2), [told(asked(node(), before), "Pulling")])

    assert made.actions == (Drop("n1"),)


def silent(pull: ImagePullJob, names: str, *nodes: NodeImage) -> Plan:
    index = ShareIndex(default_ttl=300)
    for each in nodes:
        index.take_node(each, NOW)
    index.hear(dict.fromkeys(names.split(), NOW), NOW)
    return plan(Observed(job=pull, shares=index.shares_of(pull, LATER), now=LATER, default_ttl=300))


def test_a_node_whose_agent_is_silent_takes_nobodys_place() -> None:
    pull = job(parallelism=1)

    made = silent(pull, "n1", told(asked(node("n1"), pull), "Pulling"), node("n2"), node("n3"))

    assert made.actions == (Ask("n2"),)
    assert words(made) == "1 of 3 nodes are done; agents that do not answer: n1"


def test_silent_nodes_are_asked_beside_the_others_in_case_they_come_back() -> None:
    made = silent(job(parallelism=1), "n1 n2", node("n1"), node("n2"), node("n3"), node("n4"))

    assert made.actions == (Ask("n1"), Ask("n2"), Ask("n3"))
    assert made.status.active == 1
    assert made.wake_in == 0.0


def test_a_paused_job_asks_no_silent_node_either() -> None:
    assert silent(job(parallelism=0), "n1", node("n1")).actions == ()


def test_a_job_of_which_only_silent_nodes_are_left_ends_and_says_so() -> None:
    pull = job()

    made = silent(pull, "n1", asked(node("n1"), pull), told(asked(node("n2"), pull), "Succeeded"))

    assert made.status.completion_time == LATER
    assert (made.status.succeeded, made.status.failed, made.status.failed_nodes) == (1, 1, ("n1",))
    assert conditions(made)["Stalled"] == ("True", "AgentNotResponding")
    assert words(made) == ("1 of 2 nodes failed; n1: its agent has given no sign of life since 00:00:00 UTC")


def following(pull: ImagePullJob, followed: Followed, *nodes: NodeImage) -> Plan:
    index = ShareIndex(default_ttl=300)
    for each in nodes:
        index.take_node(each, NOW)
    shares = index.shares_of(pull, NOW)
    index.follow("u1", followed, NOW)
    return plan(Observed(job=pull, shares=shares, now=LATER, default_ttl=300))


WEB = LabelSelector(match_labels={"app": "web"})


def test_nodes_of_pods_are_asked_in_the_order_of_their_workload() -> None:
    pull = job(pod_selector=WEB, parallelism=2)

    made = following(pull, Followed(nodes=("n3", "n1", "n2")), node("n1"), node("n2"), node("n3"))

    assert made.actions == (Ask("n3"), Ask("n1"))


def test_a_job_waits_for_pods_that_will_be_scheduled_soon() -> None:
    pull = job(pod_selector=WEB)

    made = following(pull, Followed(unscheduled=("web-0", "web-1")), node())

    assert made.status.completion_time is None
    assert conditions(made)["Reconciling"] == ("True", "WaitingForPods")
    assert words(made) == "0 of 0 nodes are done; to be scheduled: web-0, web-1"


def test_pods_that_are_not_scheduled_before_the_deadline_are_named() -> None:
    pull = bounded(30)
    pull = msgspec.structs.replace(pull, spec=msgspec.structs.replace(pull.spec, pod_selector=WEB))

    made = following(pull, Followed(unscheduled=("web-0",)), node())

    assert made.status.message == "job exceeds activeDeadlineSeconds"
    assert words(made) == "pods were not scheduled in time: web-0"


def test_a_job_whose_pods_are_nowhere_says_so() -> None:
    made = following(job(pod_selector=WEB), Followed(), node())

    assert words(made) == "podSelector matches no pod that runs on a node; there is nothing to do"
    assert made.status.completion_time == LATER
