"""What features expect of ``Objects``, whatever is behind it: all implementations are asked the same."""

import asyncio

import pytest
from msgspec.structs import replace

from daemon.engine.objects import AlreadyExistsError, ConflictError, NotFoundError, Objects
from daemon.objects.images import ImagePullJob, ImagePullJobSpec, ImagePullJobStatus
from daemon.objects.meta import Key, ObjectMeta, OwnerReference

DEADLINE = 10.0
"""Seconds in which a listener must have been called."""

Jobs = Objects[ImagePullJob]


def new_job(name: str = "web", image: str = "nginx:1") -> ImagePullJob:
    return ImagePullJob(
        metadata=ObjectMeta(name=name, namespace="default", labels={"app": "web"}),
        spec=ImagePullJobSpec(image=image),
    )


def with_image(job: ImagePullJob, image: str) -> ImagePullJob:
    return replace(job, spec=replace(job.spec, image=image))


def with_desired(job: ImagePullJob, desired: int) -> ImagePullJob:
    return replace(job, status=ImagePullJobStatus(desired=desired))


class Heard:
    """A listener that can be waited for."""

    def __init__(self, jobs: Jobs) -> None:
        self._keys: asyncio.Queue[Key] = asyncio.Queue()
        jobs.subscribe(self._keys.put_nowait)

    async def key(self) -> Key:
        async with asyncio.timeout(DEADLINE):
            return await self._keys.get()

    def forget(self) -> None:
        while not self._keys.empty():
            self._keys.get_nowait()


class ObjectsContract:
    """Every expectation. Subclasses provide ``jobs``: the ImagePullJobs of an empty place."""

    async def test_an_empty_place_has_nothing(self, jobs: Jobs) -> None:
        assert jobs.get(Key("default", "web")) is None
        assert list(jobs.list()) == []

    async def test_a_new_object_is_given_its_identity(self, jobs: Jobs) -> None:
        made = await jobs.create(new_job())

        assert made.metadata.uid
        assert made.metadata.resource_version
        assert made.metadata.creation_timestamp is not None
        assert made.metadata.generation == 1
        assert made.metadata.labels == {"app": "web"}
        assert made.spec.image == "nginx:1"

    async def test_a_write_is_seen_as_soon_as_it_returned(self, jobs: Jobs) -> None:
        made = await jobs.create(new_job())

        assert jobs.get(made.metadata.key) == made
        assert list(jobs.list()) == [made]

    async def test_a_new_object_has_no_status(self, jobs: Jobs) -> None:
        made = await jobs.create(with_desired(new_job(), 5))

        assert made.status == ImagePullJobStatus()

    async def test_a_name_is_taken_only_once(self, jobs: Jobs) -> None:
        made = await jobs.create(new_job())

        with pytest.raises(AlreadyExistsError):
            await jobs.create(new_job(image="other:1"))

        assert jobs.get(made.metadata.key) == made

    async def test_the_same_name_in_another_namespace_is_another_object(self, jobs: Jobs) -> None:
        one = await jobs.create(new_job())
        other = new_job()

        two = await jobs.create(replace(other, metadata=replace(other.metadata, namespace="kube-system")))

        assert one.metadata.uid != two.metadata.uid
        assert len(jobs.list()) == 2

    async def test_another_spec_is_another_generation(self, jobs: Jobs) -> None:
        made = await jobs.create(new_job())

        changed = await jobs.replace(with_image(made, "nginx:2"))

        assert changed.spec.image == "nginx:2"
        assert changed.metadata.generation == 2
        assert changed.metadata.uid == made.metadata.uid
        assert changed.metadata.creation_timestamp == made.metadata.creation_timestamp
        assert changed.metadata.resource_version != made.metadata.resource_version

    async def test_other_labels_are_the_same_generation(self, jobs: Jobs) -> None:
        made = await jobs.create(new_job())

        changed = await jobs.replace(replace(made, metadata=replace(made.metadata, labels={"app": "db"})))

        assert changed.metadata.labels == {"app": "db"}
        assert changed.metadata.generation == 1
        assert changed.metadata.resource_version != made.metadata.resource_version

    async def test_replace_does_not_touch_the_status(self, jobs: Jobs) -> None:
        made = await jobs.replace_status(with_desired(await jobs.create(new_job()), 5))

        changed = await jobs.replace(with_desired(with_image(made, "nginx:2"), 9))

        assert changed.status.desired == 5

    async def test_replacing_with_the_same_changes_nothing(self, jobs: Jobs) -> None:
        made = await jobs.replace_status(with_desired(await jobs.create(new_job()), 5))

        assert await jobs.replace(made) == made
        assert await jobs.replace_status(made) == made

    async def test_an_old_version_cannot_be_replaced(self, jobs: Jobs) -> None:
        old = await jobs.create(new_job())
        current = await jobs.replace(with_image(old, "nginx:2"))

        with pytest.raises(ConflictError):
            await jobs.replace(with_image(old, "nginx:3"))
        with pytest.raises(ConflictError):
            await jobs.replace_status(with_desired(old, 5))

        assert jobs.get(old.metadata.key) == current

    async def test_of_two_writers_at_once_one_wins(self, jobs: Jobs) -> None:
        made = await jobs.create(new_job())

        results = await asyncio.gather(
            *(jobs.replace_status(with_desired(made, number)) for number in range(1, 6)),
            return_exceptions=True,
        )

        won = [result for result in results if isinstance(result, ImagePullJob)]
        assert sum(isinstance(result, ConflictError) for result in results) == 4
        assert [jobs.get(made.metadata.key)] == won

    async def test_a_status_changes_nothing_else(self, jobs: Jobs) -> None:
        made = await jobs.create(new_job())

        told = await jobs.replace_status(with_desired(with_image(made, "nginx:2"), 5))

        assert told.status.desired == 5
        assert told.spec.image == "nginx:1"
        assert told.metadata.generation == 1
        assert told.metadata.resource_version != made.metadata.resource_version

    async def test_a_status_without_a_version_replaces_any(self, jobs: Jobs) -> None:
        old = await jobs.create(new_job())
        await jobs.replace(with_image(old, "nginx:2"))

        told = await jobs.replace_status(
            with_desired(replace(old, metadata=replace(old.metadata, resource_version="")), 5)
        )

        assert (told.status.desired, told.spec.image) == (5, "nginx:2")

    async def test_what_is_gone_cannot_be_written(self, jobs: Jobs) -> None:
        made = await jobs.create(new_job())
        await jobs.delete(made)

        with pytest.raises(NotFoundError):
            await jobs.replace(with_image(made, "nginx:2"))
        with pytest.raises(NotFoundError):
            await jobs.replace_status(with_desired(made, 5))

        assert jobs.get(made.metadata.key) is None
        assert list(jobs.list()) == []

    async def test_a_successor_of_the_same_name_is_not_written_for_its_predecessor(self, jobs: Jobs) -> None:
        old = await jobs.create(new_job())
        await jobs.delete(old)
        new = await jobs.create(new_job())

        with pytest.raises(NotFoundError):
            await jobs.replace_status(
                with_desired(replace(old, metadata=replace(old.metadata, resource_version="")), 5)
            )
        await jobs.delete(old)

        assert new.metadata.uid != old.metadata.uid
        assert jobs.get(new.metadata.key) == new

    async def test_removing_what_is_gone_is_no_error(self, jobs: Jobs) -> None:
        made = await jobs.create(new_job())
        await jobs.delete(made)

        await jobs.delete(made)

        assert jobs.get(made.metadata.key) is None

    async def test_listeners_hear_of_each_change(self, jobs: Jobs) -> None:
        heard = Heard(jobs)
        key = Key("default", "web")

        made = await jobs.create(new_job())
        assert await heard.key() == key
        heard.forget()
        changed = await jobs.replace(with_image(made, "nginx:2"))
        assert await heard.key() == key
        heard.forget()
        told = await jobs.replace_status(with_desired(changed, 5))
        assert await heard.key() == key
        heard.forget()
        await jobs.delete(told)
        assert await heard.key() == key

    async def test_what_exists_for_several_objects_goes_with_the_last_of_them(self, jobs: Jobs) -> None:
        first, last = [await jobs.create(new_job(name)) for name in ("first", "last")]
        owners = tuple(
            OwnerReference(
                kind="ImagePullJob",
                name=each.metadata.name,
                uid=each.metadata.uid,
                api_version=each.api_version,
            )
            for each in (first, last)
        )
        child = new_job("child")
        child = await jobs.create(replace(child, metadata=replace(child.metadata, owner_references=owners)))
        heard = Heard(jobs)

        await jobs.delete(first)
        kept = jobs.get(child.metadata.key)
        await jobs.delete(last)

        assert kept is not None
        async with asyncio.timeout(DEADLINE):
            while jobs.get(child.metadata.key) is not None:
                await heard.key()

    async def test_what_an_object_controls_goes_with_it(self, jobs: Jobs) -> None:
        parent = await jobs.create(new_job("parent"))
        reference = OwnerReference(
            kind="ImagePullJob",
            name="parent",
            uid=parent.metadata.uid,
            api_version=parent.api_version,
            controller=True,
        )
        child = new_job("child")
        child = await jobs.create(
            replace(child, metadata=replace(child.metadata, owner_references=(reference,)))
        )
        heard = Heard(jobs)

        await jobs.delete(parent)

        async with asyncio.timeout(DEADLINE):
            while jobs.get(child.metadata.key) is not None:
                await heard.key()
        assert list(jobs.list()) == []
