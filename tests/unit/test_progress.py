"""Progress never goes backwards, never says more than is true, and is 100 % when the pull has ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri import progress
from daemon.cri.extras import Blob, Ingest
from daemon.cri.progress import Progress, Sighting

NAMES = ("a", "b", "c", "d")  # few, so that pulls share layers and ingests
MIB = 2**20

digests = st.sampled_from(NAMES)
sizes = st.integers(0, 5 * MIB)
images = st.lists(st.builds(Blob, digests, sizes), max_size=4)
ingests = st.lists(
    st.builds(Ingest, digests, sizes, st.one_of(st.just(0), sizes)),
    max_size=4,
    unique_by=lambda ingest: ingest.digest,
).map(tuple)
sightings = st.builds(Sighting, st.floats(0, 100), ingests, st.frozensets(digests), st.frozensets(digests))
histories = st.lists(sightings, max_size=8)


def seen(at: float, *fetching: Ingest, present: str = "", claimed: str = "") -> Sighting:
    return Sighting(at, fetching, frozenset(present), frozenset(claimed))


def after(image: list[Blob] | None, *looks: Sighting) -> Progress:
    first, *later = looks
    now = progress.begin(image, first)
    for look in later:
        now = progress.observe(now, look)
    return now


def layer(now: Progress, digest: str) -> progress.Layer:
    return next(each for each in now.layers if each.digest == digest)


@given(st.one_of(st.none(), images), sightings, histories)
def test_bytes_and_percent_never_go_backwards(
    image: list[Blob] | None, first: Sighting, history: list[Sighting]
) -> None:
    now = progress.begin(image, first)
    for look in history:
        then, now = now, progress.observe(now, look)

        assert now.done >= then.done
        assert now.percent >= then.percent
        assert now.reused == then.reused


@given(st.one_of(st.none(), images), sightings, histories)
def test_a_running_pull_is_never_at_100_percent_and_never_above_its_total(
    image: list[Blob] | None, first: Sighting, history: list[Sighting]
) -> None:
    now = after(image, first, *history)

    assert 0 <= now.percent < 100
    assert image is None or now.done <= now.total
    assert now.rate >= 0.0
    assert now.seconds_left is None or now.seconds_left >= 0.0


@given(images, sightings, histories)
def test_a_pull_is_unpacking_exactly_when_all_its_bytes_are_there(
    image: list[Blob], first: Sighting, history: list[Sighting]
) -> None:
    now = after(image, first, *history)

    everywhere = first.present.union(*(look.present for look in history))
    assert (now.phase == "Unpacking") == ({blob.digest for blob in image} <= everywhere)


@given(st.one_of(st.none(), images), sightings, histories)
def test_an_ended_pull_is_at_100_percent_with_all_its_bytes(
    image: list[Blob] | None, first: Sighting, history: list[Sighting]
) -> None:
    now = progress.finish(after(image, first, *history))

    assert (now.percent, now.phase, now.done) == (100, "Ended", now.total)
    assert progress.observe(now, seen(1000.0)) == now


@given(histories, sightings, images, histories)
def test_layers_learnt_late_do_not_set_the_percent_back(
    before: list[Sighting], at: Sighting, image: list[Blob], later: list[Sighting]
) -> None:
    then = after(None, seen(0.0), *before)

    now = progress.learn(then, image, at)
    for look in later:
        now = progress.observe(now, look)

    assert now.known
    assert then.percent <= now.percent < 100
    assert {each.digest for each in now.layers} == {blob.digest for blob in image}


@given(images, st.frozensets(digests))
def test_what_was_present_before_is_reused_and_no_part_of_the_total(
    image: list[Blob], present: frozenset[str]
) -> None:
    now = progress.begin(image, Sighting(0.0, present=present))

    by_digest = {blob.digest: blob.size for blob in image}
    assert now.reused == sum(size for digest, size in by_digest.items() if digest in present)
    assert now.total == sum(size for digest, size in by_digest.items() if digest not in present)
    assert now.done == 0


@given(st.integers(1, 50 * MIB), st.lists(st.floats(0.05, 3.0), min_size=1, max_size=20))
def test_a_steady_pull_has_that_rate_however_often_it_is_looked_at(rate: int, waits: list[float]) -> None:
    at, looks = 0.0, [seen(0.0)]
    size = rate * 100
    for wait in waits:
        at += wait
        looks.append(seen(at, Ingest("a", round(rate * at), size)))

    now = after([Blob("a", size)], *looks)

    assert now.rate == pytest.approx(rate, rel=0.01, abs=2 / min(waits))
    if now.rate >= 1.0:
        assert now.seconds_left == pytest.approx((size - now.done) / now.rate)


def test_a_pull_that_stalls_loses_its_rate() -> None:
    image = [Blob("a", 100 * MIB)]
    fast = after(image, seen(0.0), seen(1.0, Ingest("a", 10 * MIB, 0)))

    stalled = progress.observe(fast, seen(101.0, Ingest("a", 10 * MIB, 0)))

    assert fast.rate == pytest.approx(10 * MIB)
    assert stalled.rate < 1.0
    assert stalled.seconds_left is None


def test_each_layer_says_how_far_it_is() -> None:
    image = [Blob("a", 10), Blob("b", 20), Blob("c", 30), Blob("d", 40)]

    now = after(image, seen(0.0, present="a"), seen(1.0, Ingest("b", 5, 20), present="ac"))

    states = [(each.digest, each.state, each.done) for each in now.layers]
    assert states == [("a", "reused", 0), ("b", "fetching", 5), ("c", "fetched", 30), ("d", "waiting", 0)]
    assert (now.done, now.total, now.reused, now.percent) == (35, 90, 10, 38)


def test_a_layer_that_appears_twice_in_a_manifest_counts_once() -> None:
    now = progress.begin([Blob("a", 10), Blob("b", 5), Blob("a", 10)], seen(0.0))

    assert now.total == 15


def test_a_download_that_starts_over_keeps_its_highest_mark_until_it_passes_it() -> None:
    image = [Blob("a", 100)]
    before = after(image, seen(0.0), seen(1.0, Ingest("a", 60, 100)))

    restarted = progress.observe(before, seen(2.0, Ingest("a", 10, 100)))
    passed = progress.observe(restarted, seen(3.0, Ingest("a", 70, 100)))

    assert (restarted.done, passed.done) == (60, 70)


def test_bytes_from_before_the_pull_count_as_done_but_not_as_fast() -> None:
    left_over = Ingest("a", 50 * MIB, 100 * MIB)

    now = after([Blob("a", 100 * MIB)], seen(0.0, left_over), seen(1.0, left_over))

    assert now.percent == 50
    assert now.rate == 0.0


def test_pulls_that_share_a_layer_both_count_it() -> None:
    looks = (seen(0.0), seen(1.0, Ingest("a", 40, 100), claimed="a"))

    first, second = after([Blob("a", 100), Blob("b", 100)], *looks), after([Blob("a", 100)], *looks)

    assert (first.done, second.done) == (40, 40)


def test_with_unknown_layers_what_nobody_claims_is_taken_for_the_pulls_own() -> None:
    now = after(None, seen(0.0), seen(1.0, Ingest("a", 10, 100), Ingest("b", 10, 100), claimed="b"))

    assert [each.digest for each in now.layers] == ["a"]
    assert (now.done, now.total, now.percent, now.known) == (10, 100, 10, False)
    assert now.seconds_left is None


def test_with_unknown_layers_a_left_over_ingest_is_ignored_until_it_grows() -> None:
    still = after(None, seen(0.0, Ingest("a", 10, 100)), seen(1.0, Ingest("a", 10, 100)))

    grown = progress.observe(still, seen(2.0, Ingest("a", 20, 100)))

    assert still.layers == ()
    assert grown.done == 20


def test_with_unknown_layers_the_bytes_may_be_there_and_more_to_come() -> None:
    now = after(None, seen(0.0), seen(1.0, Ingest("a", 10, 100)), seen(2.0, present="a"))

    assert layer(now, "a").state == "fetched"
    assert (now.percent, now.phase) == (99, "Pulling")


def test_a_layer_of_unknown_size_takes_it_from_its_download() -> None:
    first = after(None, seen(0.0), seen(1.0, Ingest("a", 10, 0)))

    later = progress.observe(first, seen(2.0, Ingest("a", 20, 80)))

    assert first.percent == 0
    assert (layer(later, "a").size, later.percent) == (80, 25)


def test_layers_learnt_late_keep_what_was_fetched_of_them() -> None:
    then = after(None, seen(0.0), seen(1.0, Ingest("a", 30, 100), Ingest("d", 5, 5)))

    now = progress.learn(then, [Blob("a", 100), Blob("b", 50), Blob("c", 10)], seen(1.0, present="b"))

    states = [(each.digest, each.state, each.done) for each in now.layers]
    assert states == [("a", "fetching", 30), ("b", "reused", 0), ("c", "waiting", 0)]


def test_only_layers_that_may_have_become_whole_are_asked_about() -> None:
    fetching = Ingest("b", 5, 20)
    image = [Blob("a", 10), Blob("b", 20), Blob("c", 30)]

    now = after(image, seen(0.0, present="a"), seen(1.0, fetching))

    assert progress.unsure(now, [fetching]) == {"c"}
    assert progress.unsure(now, []) == {"b", "c"}


def test_only_known_layers_are_claimed() -> None:
    known = progress.begin([Blob("a", 10)], seen(0.0))
    unknown = after(None, seen(0.0), seen(1.0, Ingest("b", 1, 2)))

    assert progress.claims([known, unknown]) == {"a"}


def test_an_image_without_anything_to_fetch_is_unpacking_from_the_start() -> None:
    now = progress.begin([Blob("a", 10)], seen(0.0, present="a"))

    assert (now.phase, now.percent, now.total, now.reused) == ("Unpacking", 99, 0, 10)
