"""The standalone process on runtimes of other kinds, on several, and on manifests that are not there yet."""

from pathlib import Path

from tests.fakes.holdings import FakeHoldings
from tests.fakes.runtime import serving
from tests.functional.standalone_world import World, plain_world, world
from tests.testbed.agent import pull_job

REF = "registry.test/app:v1"


async def test_a_runtime_with_cri_alone_pulls_and_is_shown_as_what_it_is(tmp_path: Path) -> None:
    async with plain_world(tmp_path) as here:
        here.node.offer(REF)
        stuck = here.runtime.hang("PullImage")
        async with here.running() as process:
            here.write("app", pull_job("app", REF))
            await stuck.met.wait()
            pulling = await process.pull(REF, lambda pull: pull.phase == "Pulling", "begun")
            here.runtime.heal()
            job = await process.ended("app")
            view = await process.view()
            page = await process.get("/")

    (runtime,) = view.runtimes
    assert (runtime.name, runtime.progress, runtime.pins) == ("cri-o", "phases", "none")
    assert (pulling.percent, pulling.bytes_total) == (0, 0)
    assert (job.succeeded, view.pulls[0].pinned) == (1, False)
    assert "phases" in page


async def test_a_withdrawn_job_ends_its_pull_there_too(tmp_path: Path) -> None:
    async with plain_world(tmp_path) as here:
        here.node.offer(REF)
        stuck = here.runtime.hang("PullImage")
        async with here.running() as process:
            here.write("app", pull_job("app", REF))
            await stuck.met.wait()
            here.withdraw("app")
            await process.until(lambda view: not view.pulls and not view.jobs, "forgotten")

    assert stuck.cancelled.is_set()


async def test_an_old_containerd_pins_by_lease(tmp_path: Path) -> None:
    async with world(tmp_path, pins_by_label=False) as here:
        here.node.offer(REF)
        async with here.running() as process:
            here.write("app", pull_job("app", REF))
            await process.pull(REF, lambda pull: pull.pinned, "pinned")
            held = dict(here.containerd.leases)
            here.withdraw("app")
            await process.until(lambda _view: not here.containerd.leases, "released")

    assert [lease.labels["inplaced.dev/pin"] for lease in held.values()] == [REF]


async def test_the_second_runtime_takes_over_while_the_first_is_away(tmp_path: Path) -> None:
    other = FakeHoldings(name="cri-o", version="1.34.0")
    other.offer(REF)
    async with world(tmp_path) as here, serving(tmp_path / "second.sock", other) as second:
        sockets = f"{here.runtime.path},{second.path}"
        async with here.running(runtime=sockets) as process:
            await process.until(lambda view: [each.ready for each in view.runtimes] == [True, True], "both")
            await here.runtime.stop()
            await process.until(lambda view: [each.ready for each in view.runtimes] == [False, True], "one")
            here.write("app", pull_job("app", REF))
            job = await process.ended("app")
            ready = (await process.view()).ready

    assert (job.succeeded, ready) == (1, True)
    assert [request.image.image for request in second.requests("PullImage")] == [REF]
    assert here.pulled() == []


async def test_a_manifest_directory_that_comes_later_is_read(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        here.node.offer(REF)
        (tmp_path / "manifests").rmdir()
        async with here.running() as process:
            before = await process.until(lambda view: view.ready, "ready")
            (tmp_path / "manifests").mkdir()
            here.write("app", pull_job("app", REF))
            job = await process.ended("app")

    assert before.jobs == ()
    assert job.succeeded == 1


async def test_manifests_that_are_swapped_as_a_whole_take_effect(tmp_path: Path) -> None:
    """As Kubernetes does with a mounted ConfigMap: one symlink is renamed over another."""
    async with world(tmp_path) as here:
        refs = [f"registry.test/{name}:v1" for name in ("old", "new")]
        for ref in refs:
            here.node.offer(ref)
        _swap(here, "first", refs[0])
        async with here.running() as process:
            await process.pull(refs[0], lambda pull: pull.phase == "Succeeded", "the old one")
            _swap(here, "second", refs[1])
            await process.pull(refs[1], lambda pull: pull.phase == "Succeeded", "the new one")
            view = await process.until(lambda view: len(view.pulls) == 1, "the old one is released")

    assert [pull.image for pull in view.pulls] == [refs[1]]


def _swap(here: World, name: str, ref: str) -> None:
    manifests = here.directory / "manifests"
    here.write("app", pull_job("app", ref))
    (manifests / f"..{name}").mkdir()
    (manifests / "app.yaml").rename(manifests / f"..{name}" / "app.yaml")
    (manifests / "..new").symlink_to(f"..{name}")
    (manifests / "..new").rename(manifests / "..data")
    if not (manifests / "app.yaml").is_symlink():
        (manifests / "app.yaml").symlink_to("..data/app.yaml")
