"""The state directory: what is in it, and what damages, crashes and a disk that refuses do to it."""

import asyncio
from pathlib import Path

import pytest
import yaml
from msgspec.structs import replace

from daemon.objects.images import ImageEntry, ImageTag, NodeImage, NodeImageSpec, Secret
from daemon.objects.meta import Key, ObjectMeta, OwnerReference
from daemon.store.files import StateDirectoryError, StorageError
from daemon.store.ledger import InvalidObjectError
from tests.functional.stores import SECRET, job, job_text, loaded, running, state, store_at, told


@pytest.fixture(autouse=True)
def manifests(tmp_path: Path) -> Path:
    folder = tmp_path / "manifests"
    folder.mkdir()
    return folder


async def test_a_state_file_reads_as_the_object(tmp_path: Path, manifests: Path) -> None:
    (manifests / "a.yaml").write_text(job_text("web"))
    async with loaded(tmp_path) as seen:
        made = await seen.jobs.replace_status(told(seen.job("web"), 5))

    text = state(tmp_path, "web").read_text()
    content = yaml.safe_load(text)
    assert list(content) == ["apiVersion", "kind", "metadata", "spec", "status", "origin"]
    assert content["metadata"]["uid"] == made.metadata.uid
    assert content["spec"]["image"] == "nginx:1"
    assert content["status"]["desired"] == 5
    assert content["origin"] == {"file": "a.yaml", "line": 1}


async def test_a_secret_of_a_manifest_is_never_written(tmp_path: Path, manifests: Path) -> None:
    (manifests / "a.yaml").write_text(SECRET)
    async with loaded(tmp_path) as seen:
        assert len(seen.secrets.list()) == 1

    written = [path.read_text() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not any("hunter2" in text or "creds" in text for text in written)


async def test_a_secret_of_a_request_is_for_the_agent_alone(tmp_path: Path) -> None:
    (tmp_path / "state" / "secrets").mkdir(parents=True, mode=0o755)
    async with loaded(tmp_path) as seen:
        asker = await seen.jobs.create(job("asker"))
        owner = OwnerReference(kind="ImagePullJob", name="asker", uid=asker.metadata.uid)
        metadata = ObjectMeta(name="asked", namespace="default", owner_references=(owner,))
        made = await seen.secrets.create(Secret(metadata=metadata, string_data={".dockerconfigjson": "{}"}))

    folder = tmp_path / "state" / "secrets"
    modes = [
        path.stat().st_mode & 0o777
        for path in (folder, folder / "default", folder / "default" / "asked.yaml")
    ]
    assert modes == [0o700, 0o700, 0o600]
    async with loaded(tmp_path) as seen:
        kept = seen.secrets.get(Key("default", "asked"))
        assert kept is not None
        assert kept.string_data == made.string_data


async def test_a_secret_of_a_request_that_a_crash_cut_short_is_removed(tmp_path: Path) -> None:
    async with loaded(tmp_path) as seen:
        await seen.secrets.create(Secret(metadata=ObjectMeta(name="asked", namespace="default")))

    async with loaded(tmp_path) as seen:
        assert seen.secrets.list() == ()
    assert not (tmp_path / "state" / "secrets" / "default" / "asked.yaml").exists()


async def test_an_object_without_namespace_is_kept(tmp_path: Path) -> None:
    spec = NodeImageSpec(images={"nginx": ImageEntry(tags=(ImageTag(tag="1"),))})
    async with loaded(tmp_path) as seen:
        made = await seen.nodes.create(NodeImage(metadata=ObjectMeta(name="node-1.local"), spec=spec))

    async with loaded(tmp_path) as seen:
        assert seen.nodes.get(Key("", "node-1.local")) == made


async def test_the_longest_name_has_a_file(tmp_path: Path) -> None:
    names = [f"{'a' * 252}{end}" for end in "bc"]
    async with loaded(tmp_path) as seen:
        for name in names:
            await seen.jobs.create(job(name))

    async with loaded(tmp_path) as seen:
        assert seen.names() == names


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "a/b", "", "A", "a" * 254])
async def test_a_request_cannot_choose_its_file(tmp_path: Path, name: str) -> None:
    async with loaded(tmp_path) as seen:
        with pytest.raises(InvalidObjectError, match=r"metadata\.name"):
            await seen.jobs.create(job(name))

        assert seen.names() == []


async def test_a_second_process_is_refused_with_the_first_ones_id(tmp_path: Path) -> None:
    async with loaded(tmp_path):
        with pytest.raises(StateDirectoryError, match=r"is in use by process \d+"):
            await store_at(tmp_path).load()

    async with loaded(tmp_path) as seen:
        assert seen.names() == []


async def test_a_state_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")

    with pytest.raises(StateDirectoryError, match="cannot use the state directory"):
        await store_at(tmp_path).load()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\x00\x00",
        b"kind: [",
        b"kind: Pod",
        b"kind: ImagePullJob\n",
        b"kind: ImagePullJob\nspec: 5",
        b"- a",
    ],
)
async def test_a_damaged_state_file_is_set_aside_and_the_rest_goes_on(tmp_path: Path, damage: bytes) -> None:
    async with loaded(tmp_path) as seen:
        await seen.jobs.create(job("whole"))
        await seen.jobs.create(job("damaged"))
    state(tmp_path, "damaged").write_bytes(damage)

    async with loaded(tmp_path) as seen:
        assert seen.names() == ["whole"]
        (problem,) = seen.store.problems()
        assert problem.file == str(state(tmp_path, "damaged"))
        assert "set aside as damaged.yaml.corrupt" in problem.message
    assert state(tmp_path, "damaged").with_name("damaged.yaml.corrupt").read_bytes() == damage


async def test_a_second_damage_does_not_overwrite_the_first(tmp_path: Path) -> None:
    for damage in (b"first", b"second"):
        async with loaded(tmp_path) as seen:
            await seen.jobs.create(job("web"))
        state(tmp_path, "web").write_bytes(damage)
    async with loaded(tmp_path):
        pass

    folder = state(tmp_path, "web").parent
    assert (folder / "web.yaml.corrupt").read_bytes() == b"first"
    assert (folder / "web.yaml.corrupt.1").read_bytes() == b"second"


async def test_a_state_file_under_another_name_is_set_aside(tmp_path: Path) -> None:
    async with loaded(tmp_path) as seen:
        await seen.jobs.create(job("web"))
    state(tmp_path, "copy").write_bytes(state(tmp_path, "web").read_bytes())

    async with loaded(tmp_path) as seen:
        assert seen.names() == ["web"]
        assert "belongs to another object" in seen.store.problems()[0].message


async def test_unfinished_files_of_a_crash_are_removed(tmp_path: Path) -> None:
    async with loaded(tmp_path) as seen:
        await seen.jobs.create(job("web"))
    unfinished = state(tmp_path, "web").with_name(".web.yaml.tmp")
    unfinished.write_text("kind: Ima")

    async with loaded(tmp_path) as seen:
        assert seen.names() == ["web"]
        assert seen.store.problems() == ()
    assert not unfinished.exists()


async def test_statuses_that_queue_up_are_all_answered_and_the_last_one_lasts(tmp_path: Path) -> None:
    async with loaded(tmp_path) as seen:
        made = await seen.jobs.create(job())
        writes = []
        for number in range(1, 101):
            latest = replace(told(made, number), metadata=replace(made.metadata, resource_version=""))
            writes.append(asyncio.ensure_future(seen.jobs.replace_status(latest)))

        answers = await asyncio.gather(*writes)

        assert [answer.status.desired for answer in answers] == list(range(1, 101))
    async with loaded(tmp_path) as seen:
        assert seen.job("asked").status.desired == 100


async def test_a_write_whose_caller_was_cancelled_is_done_all_the_same(tmp_path: Path) -> None:
    async with loaded(tmp_path) as seen:
        made = await seen.jobs.create(job())
        write = asyncio.create_task(seen.jobs.replace_status(told(made, 5)))
        await asyncio.sleep(0)  # One step of the loop, in which it begins.
        write.cancel()
        await asyncio.wait([write])

        assert write.cancelled()
    async with loaded(tmp_path) as seen:
        assert seen.job("asked").status.desired == 5


class Unwritable:
    """A namespace whose files cannot be written, by root neither: a file stands where its folder should."""

    def __init__(self, path: Path) -> None:
        self._folder = state(path, "x").parent
        self._aside = self._folder.with_name("aside")

    def __enter__(self) -> None:
        self._folder.rename(self._aside)
        self._folder.write_text("in the way")

    def __exit__(self, *exc_info: object) -> None:
        self._folder.unlink()
        self._aside.rename(self._folder)


async def test_what_cannot_be_written_is_as_before_and_can_be_tried_again(tmp_path: Path) -> None:
    async with loaded(tmp_path) as seen:
        made = await seen.jobs.create(job())
        seen.told.clear()

        with Unwritable(tmp_path):
            with pytest.raises(StorageError, match="cannot write the state of ImagePullJob default/asked"):
                await seen.jobs.replace_status(told(made, 5))
            with pytest.raises(StorageError):
                await seen.jobs.create(job("other"))
            with pytest.raises(StorageError):
                await seen.jobs.delete(made)
            assert seen.jobs.list() == (made,)
            assert seen.told == []
            assert {problem.object for problem in seen.store.problems()} >= {"ImagePullJob default/asked"}

        again = await seen.jobs.replace_status(told(made, 5))
        await seen.jobs.create(job("other"))
        assert again.status.desired == 5
        assert seen.store.problems() == ()


async def test_a_manifest_counts_although_its_state_cannot_be_written(
    tmp_path: Path, manifests: Path
) -> None:
    async with running(tmp_path) as seen:
        made = await seen.jobs.create(job("before"))

        with Unwritable(tmp_path):
            (manifests / "a.yaml").write_text(job_text("web"))
            await seen.until(lambda: "web" in seen.names() and seen.store.problems() != ())
            with pytest.raises(StorageError):
                await seen.jobs.replace_status(told(seen.job("web"), 5))
            assert seen.job("web").status.desired == 0

        await seen.jobs.replace_status(told(seen.job("web"), 5))
        await seen.jobs.delete(made)
        assert seen.store.problems() == ()
    async with loaded(tmp_path) as seen:
        assert seen.job("web").status.desired == 5


async def test_a_state_directory_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "secrets").write_text("a file in the way")

    with pytest.raises(StateDirectoryError, match=r"cannot use the state directory .*secrets"):
        await store_at(tmp_path).load()
    (tmp_path / "state" / "secrets").unlink()

    async with loaded(tmp_path) as seen:  # The failed start has let go of the lock.
        assert seen.names() == []


async def test_a_newer_write_of_the_same_object_settles_an_older_one(tmp_path: Path) -> None:
    async with loaded(tmp_path) as seen:
        made = await seen.jobs.create(job())

        made, _ = await asyncio.gather(seen.jobs.replace_status(told(made, 5)), seen.jobs.delete(made))
        await seen.jobs.create(job("another"))

        assert seen.names() == ["another"]
    assert [path.name for path in state(tmp_path, "x").parent.iterdir()] == ["another.yaml"]


async def test_closing_waits_for_what_is_being_written(tmp_path: Path) -> None:
    async with loaded(tmp_path) as seen:
        writes = [asyncio.ensure_future(seen.jobs.create(job(f"job-{number}"))) for number in range(20)]
        await asyncio.sleep(0)  # One step of the loop, in which they begin.

    assert all(write.done() for write in writes)
    async with loaded(tmp_path) as seen:
        assert len(seen.names()) == 20
