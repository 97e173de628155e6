"""The index that is kept change by change says what one made anew would say."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from daemon import names
from daemon.objects.images import (
    CompletionPolicy,
    ImagePullJob,
    ImagePullJobStatus,
    NodeImage,
    NodeSelector,
    PullPolicy,
)
from daemon.objects.meta import Key, LabelSelector, ObjectMeta
from daemon.pulljobs.index import ShareIndex
from daemon.pulljobs.shares import Followed, JobShares
from daemon.pulljobs.tags import without_job
from daemon.pulljobs.tally import State
from tests.unit.test_pulljobs_planner import NAME, NOW, asked, job, node, told

LATER = NOW + timedelta(seconds=30)
KEY = Key("default", "u1")


def index_of(*nodes: NodeImage) -> ShareIndex:
    made = ShareIndex(default_ttl=300)
    for each in nodes:
        made.take_node(each, NOW)
    return made


def written(image: NodeImage) -> NodeImage:
    """The object after its spec was changed."""
    metadata = msgspec.structs.replace(image.metadata, generation=image.metadata.generation + 1)
    return msgspec.structs.replace(image, metadata=metadata)


def now_asked(image: NodeImage, *jobs: ImagePullJob) -> NodeImage:
    for each in jobs:
        image = asked(image, each)
    return written(image)


def working(shares: JobShares) -> tuple[list[str], list[str], int, list[str]]:
    tally = shares.tally
    return list(tally.untold), tally.working, tally.succeeded, [name for name, _ in tally.failures]


def test_a_job_is_told_what_concerns_it_alone() -> None:
    one, other = job("u1"), job("u2", image="other:1")
    image = now_asked(node(), one, other)
    index = index_of(image)
    for each in (one, other):
        index.shares_of(each, NOW)

    said = told(image, "Succeeded").status.image_statuses
    half = msgspec.structs.replace(image.status, image_statuses={NAME: said[NAME]})
    concerned = index.take_node(msgspec.structs.replace(image, status=half), NOW)

    assert concerned == {KEY}


def test_progress_alone_concerns_nobody() -> None:
    pull = job()
    image = told(now_asked(node(), pull), "Pulling")
    index = index_of(image)
    index.shares_of(pull, NOW)

    status = image.status.image_statuses[NAME]
    tags = (msgspec.structs.replace(status.tags[0], progress=40),)
    further = msgspec.structs.replace(
        image.status, image_statuses={NAME: msgspec.structs.replace(status, tags=tags)}
    )

    assert index.take_node(msgspec.structs.replace(image, status=further), NOW) == set()


def test_a_label_concerns_the_jobs_that_choose_by_it() -> None:
    gpu = job(selector=NodeSelector(match_labels={"pool": "gpu"}))
    index = index_of(node("n1"))
    shares = index.shares_of(gpu, NOW)

    concerned = index.take_node(node("n1", pool="gpu"), NOW)

    assert concerned == {KEY}
    assert list(shares.tally.untold) == ["n1"]


def test_a_node_that_comes_and_goes_concerns_the_jobs_that_choose_it() -> None:
    index = index_of(node("n1"))
    shares = index.shares_of(job(), NOW)

    came = index.take_node(node("n2"), NOW)
    there = list(shares.tally.untold)
    gone = index.lose_node("n2")

    assert (came, gone) == ({KEY}, {KEY})
    assert (there, list(shares.tally.untold)) == (["n1", "n2"], ["n1"])


def test_a_node_that_was_made_anew_has_done_nothing_yet() -> None:
    pull = job()
    image = told(now_asked(node(), pull), "Succeeded")
    index = index_of(image)
    shares = index.shares_of(pull, NOW)

    index.take_node(NodeImage(metadata=ObjectMeta(name="n1", uid="another")), NOW)

    assert working(shares) == (["n1"], [], 0, [])
    assert shares.holders() == []


def test_a_node_that_will_be_asked_counts_as_at_work_until_its_object_says_otherwise() -> None:
    index = index_of(node())
    shares = index.shares_of(job(), NOW)

    shares.ask("n1")
    before = working(shares)
    news = index.settle("n1", ["u1"], NOW)

    assert before == ([], ["n1"], 0, [])
    assert news == {KEY}
    assert working(shares) == (["n1"], [], 0, [])


def test_a_share_that_will_be_dropped_counts_as_gone() -> None:
    pull = job()
    image = told(now_asked(node(), pull), "Succeeded")
    index = index_of(image)

    index.leave("n1", "u1")
    before = working(index.shares_of(pull, NOW))
    index.settle("n1", ["u1"], NOW)

    assert before == (["n1"], [], 0, [])
    assert working(index.shares_of(pull, NOW)) == ([], [], 1, [])


def test_what_another_job_asks_anew_does_not_undo_an_answer() -> None:
    first, second = job("u1"), job("u2")
    index = index_of(told(now_asked(node(), first), "Succeeded"))
    shares = index.shares_of(first, NOW)

    index.take_node(now_asked(told(now_asked(node(), first), "Succeeded"), second), NOW)

    assert working(shares) == ([], [], 1, [])


def test_only_success_takes_the_place_of_a_failure() -> None:
    pull = job()
    failed = told(now_asked(node(), pull), "Failed", "broken")
    index = index_of(failed)
    shares = index.shares_of(pull, NOW)

    again = now_asked(failed, job("u2"))
    index.take_node(again, NOW)
    meanwhile = working(shares)
    index.take_node(told(again, "Succeeded"), NOW)

    assert meanwhile == ([], [], 0, ["n1"])
    assert working(shares) == ([], [], 1, [])


def test_a_job_whose_retries_are_used_up_has_failed_although_another_goes_on() -> None:
    strict = job("u1", pull_policy=PullPolicy(backoff_limit=1))
    image = told(now_asked(node(), strict, job("u2")), "Pulling", "it broke")
    status = image.status.image_statuses[NAME]
    tags = (msgspec.structs.replace(status.tags[0], failures=2),)
    image = msgspec.structs.replace(
        image,
        status=msgspec.structs.replace(
            image.status, image_statuses={NAME: msgspec.structs.replace(status, tags=tags)}
        ),
    )
    index = index_of(image)

    assert working(index.shares_of(strict, NOW)) == ([], [], 0, ["n1"])
    assert working(index.shares_of(job("u2"), NOW)) == ([], ["n1"], 0, [])


def test_a_job_with_little_patience_fails_in_its_own_time_although_another_goes_on() -> None:
    hasty = job("u1", pull_policy=PullPolicy(timeout_seconds=10, backoff_limit=1))
    index = index_of(told(now_asked(node(), hasty, job("u2")), "Pulling"))
    shares, patient = index.shares_of(hasty, NOW), index.shares_of(job("u2"), NOW)

    left = shares.expire(NOW + timedelta(seconds=19))
    before = working(shares)
    none_left = shares.expire(NOW + timedelta(seconds=20))

    assert (left, none_left) == (1.0, None)
    assert (before, working(shares)) == (([], ["n1"], 0, []), ([], [], 0, ["n1"]))
    assert shares.tally.failures[0][1].reason == "TimedOut"
    assert patient.expire(NOW + timedelta(seconds=20)) is None


def test_an_agent_that_does_not_answer_fails_its_node_until_it_is_back() -> None:
    pull = job()
    index = index_of(now_asked(node("n1"), pull), node("n2"))
    shares = index.shares_of(pull, NOW)

    silent = index.hear({"n1": NOW, "elsewhere": NOW}, LATER)
    during = working(shares)
    back = index.hear({}, LATER)

    assert (silent, back) == ({KEY: ["n1"]}, {KEY: []})
    assert during == (["n2"], [], 0, ["n1"])
    assert working(shares) == (["n2"], ["n1"], 0, [])


def test_the_order_of_pods_is_the_order_of_nodes() -> None:
    pull = job(pod_selector=LabelSelector(match_labels={"app": "web"}))
    index = index_of(*(node(name) for name in ("n1", "n2", "n3", "n4")))
    shares = index.shares_of(pull, NOW)

    news = index.follow("u1", Followed(nodes=("n3", "n1", "gone")), NOW)

    assert news
    assert list(shares.tally.untold) == ["n3", "n1"]
    assert not index.follow("u1", Followed(nodes=("n3", "n1", "gone")), NOW)


def test_a_node_whose_pods_have_left_is_no_longer_wanted() -> None:
    pull = job(pod_selector=LabelSelector(match_labels={"app": "web"}))
    index = index_of(told(now_asked(node("n1"), pull), "Pulling"), node("n2"))
    shares = index.shares_of(pull, NOW)

    index.follow("u1", Followed(nodes=("n1",)), NOW)
    before = working(shares)
    index.follow("u1", Followed(nodes=("n2",)), NOW)

    assert before == ([], ["n1"], 0, [])
    assert working(shares) == (["n2"], [], 0, [])
    assert shares.strays == {"n1": False}


@pytest.mark.parametrize(
    "edited",
    [
        job(pull_policy=PullPolicy(timeout_seconds=7)),
        job(completion_policy=CompletionPolicy(active_deadline_seconds=99)),
        job(image_pull_policy="Always"),
    ],
    ids=["timeout", "deadline", "rule"],
)
def test_an_edit_reaches_the_nodes_at_work(edited: ImagePullJob) -> None:
    before = job()
    index = index_of(told(now_asked(node("n1"), before), "Pulling"), told(node("n2"), "Succeeded"))
    index.shares_of(before, NOW)

    shares = index.shares_of(edited, NOW)
    there = set(shares.outdated)
    shares.ask("n1")

    assert there == {"n1"}
    assert shares.outdated == set()


def test_another_priority_reaches_the_nodes_at_work() -> None:
    index = index_of(told(now_asked(node(), job()), "Pulling"))
    metadata = msgspec.structs.replace(job().metadata, annotations={names.PRIORITY_ANNOTATION: "5"})

    shares = index.shares_of(msgspec.structs.replace(job(), metadata=metadata), NOW)

    assert shares.outdated == {"n1"}


def test_terms_that_are_met_are_not_written_again() -> None:
    one, other = job("u1"), job("u2", pull_policy=PullPolicy(timeout_seconds=7))
    index = index_of(told(now_asked(node(), one, other), "Pulling"))

    assert index.shares_of(one, LATER).outdated == set()
    assert index.shares_of(other, LATER).outdated == set()


def test_who_had_the_name_before_is_a_stranger_for_as_long_as_it_owns_something() -> None:
    old = job("u1")
    new = msgspec.structs.replace(old, metadata=msgspec.structs.replace(old.metadata, uid="u9"))
    image = now_asked(node(), old)
    index = index_of(image)
    index.shares_of(old, NOW)

    before = index.strangers(KEY, "u9")
    index.take_node(written(msgspec.structs.replace(image, spec=without_job(image, "u1"))), NOW)

    assert before == {"u1": ["n1"]}
    assert index.strangers(KEY, "u9") == {}
    assert working(index.shares_of(new, NOW)) == (["n1"], [], 0, [])


def test_an_ended_job_that_owns_nothing_leaves_nothing_behind() -> None:
    over = ImagePullJobStatus(completion_time=NOW, observed_generation=1)
    pull = job()
    index = index_of(node())
    index.shares_of(pull, NOW)

    shares = index.shares_of(msgspec.structs.replace(pull, status=over), NOW)

    assert shares.holders() == []
    assert index.live == 0
    assert index.strangers(KEY, "") == {}


NODES = ("n1", "n2", "n3")
JOBS = (
    job("u1"),
    job("u2", selector=NodeSelector(match_labels={"pool": "gpu"})),
    job("u3", selector=NodeSelector(names=("n1", "n3"))),
    job("u4", image="other:1", image_pull_policy="Always"),
    job("u1", image="registry.test/app:v2", generation=2),
)


class Kept(RuleBasedStateMachine):
    """Nodes and jobs change in any order; the index follows."""

    def __init__(self) -> None:
        super().__init__()
        self.index = ShareIndex(default_ttl=300)
        self.nodes: dict[str, NodeImage] = {}
        self.jobs: dict[str, ImagePullJob] = {}
        self.silent: dict[str, datetime] = {}

    def take(self, image: NodeImage) -> None:
        self.nodes[image.metadata.name] = image
        self.index.take_node(image, NOW)

    @rule(name=st.sampled_from(NODES), pool=st.sampled_from(["gpu", "cpu"]))
    def labelled(self, name: str, pool: str) -> None:
        image = self.nodes.get(name, node(name))
        metadata = msgspec.structs.replace(image.metadata, labels={"pool": pool})
        self.take(msgspec.structs.replace(image, metadata=metadata))

    @rule(name=st.sampled_from(NODES))
    def leaves(self, name: str) -> None:
        self.nodes.pop(name, None)
        self.index.lose_node(name)

    @rule(pull=st.sampled_from(JOBS))
    def wanted(self, pull: ImagePullJob) -> None:
        self.jobs[pull.metadata.uid] = pull

    @precondition(lambda self: self.nodes and self.jobs)
    @rule(data=st.data())
    def asks(self, data: Any) -> None:
        image = self.nodes[data.draw(st.sampled_from(sorted(self.nodes)))]
        pull = self.jobs[data.draw(st.sampled_from(sorted(self.jobs)))]
        self.take(now_asked(image, pull))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), uid=st.sampled_from(["u1", "u2", "u3", "u4"]))
    def drops(self, data: Any, uid: str) -> None:
        image = self.nodes[data.draw(st.sampled_from(sorted(self.nodes)))]
        self.take(written(msgspec.structs.replace(image, spec=without_job(image, uid))))

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), phase=st.sampled_from(["Pulling", "Succeeded"]))
    def tells(self, data: Any, phase: str) -> None:
        image = self.nodes[data.draw(st.sampled_from(sorted(self.nodes)))]
        self.take(told(image, phase))

    @rule(silent=st.sets(st.sampled_from(NODES)))
    def falls_silent(self, silent: set[str]) -> None:
        self.silent = dict.fromkeys(silent, NOW)
        self.index.hear(self.silent, NOW)

    @invariant()
    def is_as_if_made_anew(self) -> None:
        fresh = index_of(*self.nodes.values())
        fresh.hear(self.silent, NOW)
        for pull in self.jobs.values():
            self._compare(self.index.shares_of(pull, NOW), fresh.shares_of(pull, NOW))

    def _compare(self, kept: JobShares, fresh: JobShares) -> None:
        assert kept.holders() == fresh.holders()
        assert kept.strays == fresh.strays
        assert list(kept.tally.untold) == list(fresh.tally.untold)
        for name in NODES:
            states = kept.tally.state_of(name), fresh.tally.state_of(name)
            # A success stands when another job asks anew, which who comes later cannot know.
            stands = states[0] is State.SUCCEEDED and states[1] in {State.ACTIVE, State.SILENT}
            assert stands or states[0] is states[1]


Kept.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestKept = Kept.TestCase
