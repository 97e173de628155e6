"""The directory store and the manifests: they come, change and go, and processes end and start."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from daemon.engine.objects import AlreadyExistsError
from daemon.objects.images import ImagePullJobSpec, ImagePullJobStatus
from daemon.objects.meta import Key
from daemon.store.ledger import DeclaredError
from tests.functional.stores import SECRET, Watched, job, job_text, loaded, running, state, store_at, told


@pytest.fixture(autouse=True)
def manifests(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    return folder


async def test_manifests_are_there_once_the_store_is_loaded(tmp_path: Path, manifests: Path) -> None:
    (manifests / "a.yaml").write_text(job_text("web") + "---" + SECRET)

    async with loaded(tmp_path) as seen:
        made = seen.job("web")
        secret = seen.secrets.get(Key("default", "creds"))

        assert made.metadata.generation == 1
        assert made.metadata.uid
        assert secret is not None
        assert seen.store.source_of("ImagePullJob", made.metadata.key) == "a.yaml:1"
        assert seen.store.problems() == ()


async def test_status_and_identity_outlive_the_process(tmp_path: Path, manifests: Path) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with loaded(tmp_path) as seen:
        before = await seen.jobs.replace_status(told(seen.job("web"), 5))

    async with loaded(tmp_path) as seen:
        assert seen.job("web") == before
        after = await seen.jobs.replace_status(told(before, 6))

        assert int(after.metadata.resource_version) > int(before.metadata.resource_version)


async def test_a_changed_manifest_is_another_generation_of_the_same_object(
    tmp_path: Path, manifests: Path
) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with running(tmp_path) as seen:
        before = await seen.jobs.replace_status(told(seen.job("web"), 5))

        (manifests / "a.yaml").write_text(job_text("web", "nginx:2"))
        await seen.until(lambda: seen.job("web").spec.image == "nginx:2")

        after = seen.job("web")
        assert after.metadata.generation == 2
        assert after.metadata.uid == before.metadata.uid
        assert after.metadata.creation_timestamp == before.metadata.creation_timestamp
        assert after.status.desired == 5


async def test_a_manifest_that_changed_while_nobody_ran_is_another_generation(
    tmp_path: Path, manifests: Path
) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with loaded(tmp_path) as seen:
        before = seen.job("web")

    (manifests / "a.yaml").write_text(job_text("web", "nginx:2"))

    async with loaded(tmp_path) as seen:
        assert seen.job("web").metadata.generation == 2
        assert seen.job("web").metadata.uid == before.metadata.uid


async def test_another_place_of_the_same_manifest_changes_nothing(tmp_path: Path, manifests: Path) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with running(tmp_path) as seen:
        before = seen.job("web")

        (manifests / "a.yaml").write_text(job_text("first") + "---\n" + job_text("web"))
        await seen.until(lambda: seen.names() == ["first", "web"])

        assert seen.job("web") is before
        assert seen.store.source_of("ImagePullJob", before.metadata.key) == "a.yaml:8"


async def test_other_labels_of_a_manifest_are_the_same_generation(tmp_path: Path, manifests: Path) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with running(tmp_path) as seen:
        (manifests / "a.yaml").write_text(job_text("web").replace("spec:", "  labels: {a: b}\nspec:"))
        await seen.until(lambda: seen.job("web").metadata.labels == {"a": "b"})

        assert seen.job("web").metadata.generation == 1


async def test_a_removed_manifest_removes_object_state_and_what_it_controls(
    tmp_path: Path, manifests: Path
) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with running(tmp_path) as seen:
        child = await seen.jobs.create(job("child", owner=seen.job("web").metadata.uid))
        await seen.jobs.create(job("grandchild", owner=child.metadata.uid))
        await seen.jobs.create(job("stranger"))

        (manifests / "a.yaml").unlink()
        await seen.until(lambda: seen.names() == ["stranger"])

        assert {key.name for key in seen.told} == {"web", "child", "grandchild", "stranger"}
    assert sorted(path.name for path in state(tmp_path, "web").parent.iterdir()) == ["stranger.yaml"]


async def test_what_a_crash_left_without_its_owner_is_removed(tmp_path: Path) -> None:
    async with loaded(tmp_path) as seen:
        await seen.jobs.create(job("orphan", owner="gone"))

    async with loaded(tmp_path) as seen:
        assert seen.names() == []
    assert not state(tmp_path, "orphan").exists()


async def test_a_deleted_object_does_not_come_back_while_its_manifest_stays(
    tmp_path: Path, manifests: Path
) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with loaded(tmp_path) as seen:
        await seen.jobs.delete(seen.job("web"))
        assert seen.names() == []

    async with running(tmp_path) as seen:
        assert seen.names() == []
        with pytest.raises(AlreadyExistsError, match=r"declared in a\.yaml:1"):
            await seen.jobs.create(job("web"))


async def test_a_deleted_object_comes_back_as_another_when_its_manifest_changes(
    tmp_path: Path, manifests: Path
) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with running(tmp_path) as seen:
        before = await seen.jobs.replace_status(told(seen.job("web"), 5))
        await seen.jobs.delete(before)

        (manifests / "a.yaml").write_text(job_text("web", "nginx:2"))
        await seen.until(lambda: seen.names() == ["web"])

        after = seen.job("web")
        assert after.metadata.uid != before.metadata.uid
        assert (after.metadata.generation, after.status) == (1, ImagePullJobStatus())


async def test_a_deleted_object_comes_back_when_its_manifest_is_added_again(
    tmp_path: Path, manifests: Path
) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with running(tmp_path) as seen:
        await seen.jobs.delete(seen.job("web"))
        seen.told.clear()

        (manifests / "a.yaml").rename(manifests / "a.off")
        await seen.until(lambda: Key("default", "web") in seen.told)
        (manifests / "a.off").rename(manifests / "a.yaml")
        await seen.until(lambda: seen.names() == ["web"])


async def test_a_declared_object_is_changed_in_its_manifest_only(tmp_path: Path, manifests: Path) -> None:
    text = job_text("web")
    (manifests / "a.yaml").write_text(text)
    async with loaded(tmp_path) as seen:
        made = seen.job("web")

        with pytest.raises(DeclaredError, match=r"declared in a\.yaml:1: change it there"):
            await seen.jobs.replace(replace(made, spec=ImagePullJobSpec(image="nginx:2")))

        assert seen.job("web") is made
    assert (manifests / "a.yaml").read_text() == text


async def test_a_request_is_not_taken_over_by_a_manifest_of_its_name(tmp_path: Path, manifests: Path) -> None:
    async with running(tmp_path) as seen:
        made = await seen.jobs.create(job("web"))

        (manifests / "a.yaml").write_text(job_text("web", "nginx:2"))
        await seen.until(lambda: seen.store.problems() != ())
        (problem,) = seen.store.problems()
        assert (problem.file, problem.line, problem.object) == ("a.yaml", 1, "ImagePullJob default/web")
        assert seen.job("web") is made

        await seen.jobs.delete(made)
        assert seen.job("web").spec.image == "nginx:2"
        assert seen.store.problems() == ()


async def test_a_problem_is_told_and_goes_when_it_is_mended(tmp_path: Path, manifests: Path) -> None:
    async with running(tmp_path) as seen:
        (manifests / "a.yaml").write_text(job_text("web", extra="  paralelism: 1\n"))
        await seen.until(lambda: seen.store.problems() != ())
        assert seen.store.problems()[0].message == "is not a known field: did you mean parallelism?"

        (manifests / "a.yaml").write_text(job_text("web", extra="  parallelism: 1\n"))
        await seen.until(lambda: seen.store.problems() == ())

        assert seen.names() == ["web"]


async def test_a_file_that_is_broken_at_the_start_keeps_the_objects_of_the_last_process(
    tmp_path: Path, manifests: Path
) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with loaded(tmp_path) as seen:
        before = await seen.jobs.replace_status(told(seen.job("web"), 5))
    (manifests / "a.yaml").write_text("kind: [")

    async with loaded(tmp_path) as seen:
        assert seen.job("web") == before
        assert len(seen.store.problems()) == 2


async def test_a_directory_that_is_missing_at_the_start_keeps_the_objects_of_the_last_process(
    tmp_path: Path, manifests: Path
) -> None:
    (manifests / "a.yaml").write_text(job_text("web") + "---\n" + job_text("done"))
    async with loaded(tmp_path) as seen:
        await seen.jobs.delete(seen.job("done"))
    (tmp_path / "manifests").rename(tmp_path / "elsewhere")

    async with running(tmp_path) as seen:
        assert seen.names() == ["web"]

        (tmp_path / "elsewhere").rename(manifests)
        await seen.until(lambda: seen.store.problems() == ())
        assert seen.names() == ["web"]


async def test_without_a_manifest_directory_declared_objects_are_gone(
    tmp_path: Path, manifests: Path
) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with loaded(tmp_path) as seen:
        await seen.jobs.create(job("asked"))

    async with store_at(tmp_path, manifests=False) as store:
        await store.run()

        assert Watched(store).names() == ["asked"]
