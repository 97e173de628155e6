"""The cache: what is newer wins, whoever brings it, and what is gone stays gone."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon.kube.cache import Cache, Difference
from daemon.kube.packing import Packed
from daemon.objects.images import ImagePullJob, ImagePullJobSpec
from daemon.objects.meta import Key, ObjectMeta

WEB = Key("default", "web")


def job(version: int, uid: str = "u1", image: str = "nginx:1") -> ImagePullJob:
    metadata = ObjectMeta(name="web", namespace="default", uid=uid, resource_version=str(version))
    return ImagePullJob(metadata=metadata, spec=ImagePullJobSpec(image=image))


def cache(*, packed: bool = False) -> Cache[ImagePullJob]:
    objects = Packed(ImagePullJob) if packed else None
    return Cache({"image": lambda each: [each.spec.image]}, objects)


def test_what_is_newer_replaces_what_is_older() -> None:
    jobs = cache()

    assert jobs.put(job(5)) == Difference(None, job(5))
    assert jobs.put(job(7)) == Difference(job(5), job(7))

    assert jobs.get(WEB) == job(7)


def test_what_is_not_newer_changes_nothing() -> None:
    jobs = cache()
    jobs.put(job(10))

    assert jobs.put(job(9)) is None
    assert jobs.put(job(10, image="other:1")) is None

    assert jobs.get(WEB) == job(10)


def test_versions_are_numbers_and_no_texts() -> None:
    jobs = cache()
    jobs.put(job(999))

    jobs.put(job(1000))

    assert jobs.get(WEB) == job(1000)


def test_an_end_that_is_older_than_what_is_known_is_none() -> None:
    jobs = cache()
    jobs.put(job(10))

    assert jobs.drop(job(9)) is None

    assert jobs.get(WEB) == job(10)


def test_a_late_answer_does_not_bring_back_what_has_gone() -> None:
    jobs = cache()
    jobs.put(job(5))
    jobs.drop(job(8))

    assert jobs.put(job(7)) is None

    assert jobs.get(WEB) is None


def test_what_left_a_selection_may_come_back() -> None:
    jobs = cache()
    jobs.put(job(5))
    jobs.drop(job(8))

    jobs.put(job(9))

    assert jobs.get(WEB) == job(9)


def test_what_was_removed_by_us_never_comes_back() -> None:
    jobs = cache()
    jobs.put(job(5))
    jobs.bury(job(5))

    assert jobs.put(job(6)) is None
    assert jobs.put(job(9, "u2")) == Difference(None, job(9, "u2"))


def test_the_end_of_a_predecessor_is_not_the_end_of_its_successor() -> None:
    jobs = cache()
    jobs.put(job(9, "u2"))

    assert jobs.drop(job(12, "u1")) is None
    assert jobs.bury(job(5, "u1")) is None

    assert jobs.get(WEB) == job(9, "u2")


def test_what_was_not_listed_goes_unless_it_is_newer_than_the_list() -> None:
    jobs = cache()
    old, new = job(5), replace(job(12), metadata=replace(job(12).metadata, name="new", uid="u3"))
    jobs.put(old)
    jobs.put(new)

    gone = jobs.keep(set(), "10")

    assert gone == [Difference(old, None)]
    assert list(jobs.list()) == [new]


def test_an_index_follows_its_objects() -> None:
    jobs = cache()
    jobs.put(job(5, image="a:1"))
    assert list(jobs.indexed("image", "a:1")) == [job(5, image="a:1")]

    jobs.put(job(6, image="b:1"))
    assert (list(jobs.indexed("image", "a:1")), len(jobs.indexed("image", "b:1"))) == ([], 1)

    jobs.drop(job(7, image="b:1"))
    assert list(jobs.indexed("image", "b:1")) == []


@given(st.permutations(range(1, 8)))
def test_in_whatever_order_news_come_the_last_version_stays(order: list[int]) -> None:
    jobs = cache()

    for version in order:
        jobs.put(job(version, image=f"nginx:{version}"))

    assert jobs.get(WEB) == job(7, image="nginx:7")
    assert [len(jobs.indexed("image", f"nginx:{version}")) for version in range(1, 8)] == [0] * 6 + [1]


def test_memory_of_what_has_gone_is_bounded() -> None:
    jobs = cache()

    for number in range(5000):
        jobs.drop(job(number + 1, f"u{number}"))

    assert jobs.put(job(1, "u0")) is not None
    assert jobs.put(job(4000, "u4998")) is None


@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "bury"]), st.integers(1, 9)), max_size=12))
def test_it_makes_no_difference_whether_objects_lie_packed(news: list[tuple[str, int]]) -> None:
    plain, packed = cache(), cache(packed=True)

    for act, version in news:
        told = job(version, image=f"app:{version}")
        assert getattr(packed, act)(told) == getattr(plain, act)(told)

    assert packed.list() == plain.list()
    assert packed.indexed("image", "app:5") == plain.indexed("image", "app:5")
    assert packed.keep(set(), "5") == plain.keep(set(), "5")
    assert (len(packed), packed.get(WEB)) == (len(plain), plain.get(WEB))
