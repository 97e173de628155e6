"""Changes of directories are noticed, whatever becomes of the directories."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from daemon.store.manifests import Manifests
from daemon.store.watching import QUIET, Watching
from tests.functional.stores import DEADLINE


class Looks:
    """Counts the looks, and waits for one that sees what it must."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self._looked = asyncio.Event()

    async def look(self) -> None:
        self.times.append(asyncio.get_running_loop().time())
        self._looked.set()

    async def another(self, after: int) -> None:
        """Wait for more than *after* looks."""
        async with asyncio.timeout(DEADLINE):
            while len(self.times) <= after:
                self._looked.clear()
                await self._looked.wait()


@asynccontextmanager
async def followed(folders: Callable[[], frozenset[Path]]) -> AsyncIterator[Looks]:
    """A watch that is in place."""
    looks = Looks()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(Watching(folders).run(looks.look))
        await looks.another(0)
        yield looks
        task.cancel()


def at(*paths: Path) -> Callable[[], frozenset[Path]]:
    return lambda: frozenset(paths)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "manifests"
    path.mkdir()
    return path


def write(path: Path) -> None:
    path.write_text("a: 1")


def edit_as_editors_do(path: Path) -> None:
    write(path.with_suffix(".new"))
    path.with_suffix(".new").rename(path)


def link(path: Path) -> None:
    write(path.parent.parent / "outside")
    os.link(path.parent.parent / "outside", path)


def replace_folder(path: Path, aside: Path) -> None:
    path.rename(aside)
    path.mkdir()


def remove_folder(path: Path) -> None:
    path.rmdir()


def make_folder(path: Path) -> None:
    path.mkdir()


def overflow(folder: Path) -> None:
    """Make more events than the kernel keeps; two that are alike in a row would count once."""
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for name in ("a", "b"):
        write(folder / name)
    for number in range(limit + 100):
        (folder / "ab"[number % 2]).chmod(0o600)


@contextmanager
def no_more_files() -> Iterator[None]:
    """Let this process open no file: the machine's own limits are everybody's."""
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    "change", [write, edit_as_editors_do, link, Path.mkdir, lambda path: path.symlink_to("x")]
)
async def test_a_change_is_noticed(folder: Path, change: Callable[[Path], None]) -> None:
    async with followed(at(folder)) as looks:
        change(folder / "a.yaml")

        await looks.another(1)


@pytest.mark.parametrize(
    "change", [Path.unlink, lambda path: path.rename(path.parent.parent / "a"), lambda path: path.chmod(0)]
)
async def test_a_change_of_what_was_there_is_noticed(folder: Path, change: Callable[[Path], None]) -> None:
    write(folder / "a.yaml")
    async with followed(at(folder)) as looks:
        change(folder / "a.yaml")

        await looks.another(1)


async def test_a_burst_is_looked_at_once(folder: Path) -> None:
    async with followed(at(folder)) as looks:
        for number in range(200):
            write(folder / f"{number}.yaml")
        await looks.another(1)

        write(folder / "last.yaml")
        await looks.another(2)

        assert len(looks.times) == 3


async def test_what_was_moved_into_its_place_is_looked_at_at_once(folder: Path) -> None:
    write(folder / "a.new")
    async with followed(at(folder)) as looks:
        await asyncio.sleep(QUIET)  # a look does not follow another one at once

        changed = asyncio.get_running_loop().time()
        (folder / "a.new").rename(folder / "a.yaml")
        await looks.another(1)

        assert looks.times[1] - changed < QUIET


async def test_no_file_is_looked_at_while_another_one_is_being_written(folder: Path) -> None:
    write(folder / "a.new")
    async with followed(at(folder)) as looks:
        await asyncio.sleep(QUIET)

        changed = asyncio.get_running_loop().time()
        with (folder / "b.yaml").open("w"):
            (folder / "a.new").rename(folder / "a.yaml")
            await looks.another(1)

        assert looks.times[1] - changed >= QUIET


async def test_a_burst_without_end_is_looked_at_all_the_same(folder: Path) -> None:
    async with followed(at(folder)) as looks, asyncio.TaskGroup() as group:

        async def keep_writing() -> None:
            while True:
                write(folder / "a.yaml")
                await asyncio.sleep(QUIET / 5)

        task = group.create_task(keep_writing())
        await looks.another(2)
        task.cancel()


async def test_a_directory_that_comes_later_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "later" / "still" / "manifests"
    async with followed(at(folder)) as looks:
        folder.mkdir(parents=True)
        await looks.another(1)

        seen = len(looks.times)
        write(folder / "a.yaml")
        await looks.another(seen)


async def test_a_directory_that_comes_step_by_step_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "later" / "manifests"
    async with followed(at(folder)) as looks:
        folder.parent.mkdir()
        await looks.another(1)
        folder.mkdir()
        await looks.another(2)
        seen = len(looks.times)
        write(folder / "a.yaml")

        await looks.another(seen)


async def test_a_directory_that_is_replaced_is_noticed(tmp_path: Path, folder: Path) -> None:
    async with followed(at(folder)) as looks:
        for number in range(3):
            seen = len(looks.times)
            replace_folder(folder, tmp_path / f"old-{number}")
            await looks.another(seen)

            # Twice, since letting go of the old directory may cause a look of its own.
            for name in ("a", "b"):
                seen = len(looks.times)
                write(folder / name)
                await looks.another(seen)


async def test_a_directory_that_is_removed_and_made_again_is_noticed(folder: Path) -> None:
    async with followed(at(folder)) as looks:
        remove_folder(folder)
        await looks.another(1)
        seen = len(looks.times)
        make_folder(folder)
        await looks.another(seen)
        seen = len(looks.times)

        write(folder / "a.yaml")
        await looks.another(seen)


async def test_a_link_to_a_directory_that_leads_elsewhere_is_noticed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    folder = tmp_path / "manifests"
    folder.symlink_to("one")
    async with followed(at(folder)) as looks:
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(folder)
        await looks.another(1)
        seen = len(looks.times)

        write(tmp_path / "two" / "a.yaml")
        await looks.another(seen)


async def test_a_file_behind_a_link_is_followed(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "a.yaml").symlink_to(tmp_path / "elsewhere" / "a.yaml")
    async with followed(Manifests(folder).folders) as looks:
        write(tmp_path / "elsewhere" / "a.yaml")

        await looks.another(1)


async def test_what_is_no_longer_followed_is_left_alone(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "other").mkdir()
    folders = {folder, tmp_path / "other"}
    async with followed(lambda: frozenset(folders)) as looks:
        folders.remove(tmp_path / "other")
        write(folder / "a.yaml")
        await looks.another(1)
        seen = len(looks.times)

        write(tmp_path / "other" / "a.yaml")
        write(folder / "b.yaml")
        await looks.another(seen)


async def test_an_overflow_is_a_change(folder: Path) -> None:
    async with followed(at(folder)) as looks:
        overflow(folder)
        await looks.another(1)
        seen = len(looks.times)

        write(folder / "b.yaml")
        await looks.another(seen)


async def test_without_watches_it_looks_from_time_to_time_and_says_so(folder: Path) -> None:
    looks, follower = Looks(), Watching(at(folder))
    async with asyncio.TaskGroup() as group:
        with no_more_files():
            task = group.create_task(follower.run(looks.look))
            await looks.another(0)
        task.cancel()

    assert follower.complaint.startswith("is looked at every 30 s only: Too many open files")
