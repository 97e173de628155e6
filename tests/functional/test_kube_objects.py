"""Writes to an API server: what they send, what they spare, and how they bear conflicts and lost answers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace

from daemon.engine.objects import ConflictError
from daemon.kube.errors import RefusedError, UnreachableError
from daemon.kube.informer import Informer
from daemon.kube.objects import KubeObjects
from daemon.kube.resources import IMAGE_PULL_JOBS, NODE_IMAGES
from daemon.metrics import Metrics
from daemon.objects.images import ImagePullJob, ImagePullJobStatus, PullPolicy
from daemon.objects.meta import Key
from tests.conformance.objects_contract import new_job, with_desired, with_image
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import KINDS, FakeApiServer
from tests.fakes.apistorage import Document, Served
from tests.fakes.following import following, until
from tests.functional.kube_world import WEB, World, followed_world


@pytest_asyncio.fixture
async def here() -> AsyncIterator[World]:
    async with followed_world() as made:
        yield made


def unversioned(job: ImagePullJob) -> ImagePullJob:
    return replace(job, metadata=replace(job.metadata, resource_version=""))


def stored(here: World) -> Document:
    return here.server.document("imagepulljobs", "web", "default")


async def known(here: World, **more: Any) -> ImagePullJob:
    """A job that somebody else has written, as it is seen here."""
    here.put(**more)
    await until(here.informer, lambda: here.jobs.get(WEB) is not None)
    job = here.jobs.get(WEB)
    assert job is not None
    return job


async def test_fields_that_we_do_not_know_survive_our_writes(here: World) -> None:
    job = await known(here, spec={"future": {"a": 1}}, status={"desired": 1, "later": [1], "message": "old"})

    job = await here.jobs.replace(with_image(job, "nginx:2"))
    await here.jobs.replace_status(with_desired(job, 5))

    assert stored(here)["spec"]["future"] == {"a": 1}
    assert stored(here)["status"] == {"desired": 5, "later": [1], "message": ""}


async def test_fields_that_we_do_not_know_survive_inside_of_lists() -> None:
    tags = [{"tag": "1", "future": 1}, {"tag": "2", "future": 2}, {"tag": "3", "future": 3}]
    document = {"metadata": {"name": "node-a"}, "spec": {"images": {"nginx": {"tags": tags}}}}
    async with followed_world() as here:
        here.server.store("nodeimages", document)
        informer = Informer(here.client, NODE_IMAGES, Metrics())
        async with following(informer):
            nodes = KubeObjects(here.client, informer)
            node = nodes.get(Key("", "node-a"))
            assert node is not None
            entry = node.spec.images["nginx"]
            fewer = replace(entry, tags=(entry.tags[0], replace(entry.tags[2], version=7)))

            await nodes.replace(replace(node, spec=replace(node.spec, images={"nginx": fewer})))

        after = here.server.document("nodeimages", "node-a")["spec"]["images"]["nginx"]["tags"]
    assert after == [{"tag": "1", "future": 1}, {"tag": "3", "future": 3, "version": 7}]


async def test_nothing_is_sent_when_nothing_changes(here: World) -> None:
    job = await known(here)

    await here.jobs.replace(job)
    await here.jobs.replace_status(unversioned(job))

    assert here.server.count("patch") == 0


async def test_a_member_that_is_missing_on_the_server_is_made(here: World) -> None:
    job = await known(here)
    policy = PullPolicy(timeout_seconds=5)

    changed = await here.jobs.replace(replace(job, spec=replace(job.spec, pull_policy=policy)))

    assert changed.spec.pull_policy == policy
    assert stored(here)["spec"]["pullPolicy"] == {"timeoutSeconds": 5}


async def test_only_what_changed_is_sent(here: World) -> None:
    job = await here.jobs.replace_status(with_desired(await known(here), 5))

    await here.jobs.replace_status(unversioned(replace(job, status=replace(job.status, failed=2))))

    paths = [each["path"] for each in here.server.requests[-1].body]
    assert paths == ["/metadata/uid", "/status/failed"]


async def test_what_the_schema_drops_is_not_sent_for_ever() -> None:
    def prune(document: Document) -> Document:
        status = {key: value for key, value in document.get("status", {}).items() if key != "message"}
        return {**document, "status": status}

    others = [each for each in KINDS if each.plural != "imagepulljobs"]
    pruning = Served("apps.kruise.io", ("v1beta1",), "imagepulljobs", "ImagePullJob", prune=prune)
    async with followed_world(FakeApiServer([*others, pruning])) as here:
        job = await known(here)

        told = await here.jobs.replace_status(
            unversioned(replace(job, status=ImagePullJobStatus(desired=1, message="dropped")))
        )

        assert (told.status.desired, told.status.message) == (1, "")
        assert here.server.count("patch") <= 2


async def test_an_invalid_object_is_refused_without_a_second_try() -> None:
    def validate(document: Mapping[str, Any]) -> str:
        return "spec.image: must not be bad" if document["spec"]["image"] == "bad" else ""

    others = [each for each in KINDS if each.plural != "imagepulljobs"]
    strict = Served("apps.kruise.io", ("v1beta1",), "imagepulljobs", "ImagePullJob", validate=validate)
    async with followed_world(FakeApiServer([*others, strict])) as here:
        job = await known(here)
        asked = len(here.server.requests)

        with pytest.raises(RefusedError, match="must not be bad"):
            await here.jobs.replace(with_image(job, "bad"))

        assert len(here.server.requests) == asked + 1


async def test_a_lost_answer_is_no_lost_write(here: World) -> None:
    job = await known(here)
    here.server.fail(Fault(verb="patch", reset=True))
    wanted = unversioned(with_desired(job, 5))

    with pytest.raises(UnreachableError):
        await here.jobs.replace_status(wanted)
    told = await here.jobs.replace_status(wanted)

    assert told.status.desired == 5
    assert stored(here)["status"]["desired"] == 5


async def test_in_a_storm_of_conflicts_each_write_is_tried_once_and_every_change_stays(here: World) -> None:
    await known(here)
    others = [KubeObjects(here.client, Informer(here.client, IMAGE_PULL_JOBS, Metrics())) for _ in range(3)]
    conflicts = 0

    async def label(jobs: KubeObjects[ImagePullJob], number: int) -> None:
        """Add a label as a reconciler would: again from what is known, until it is there."""
        nonlocal conflicts
        for _ in range(50):
            job = jobs.get(WEB) or await here.client.get(IMAGE_PULL_JOBS, WEB)
            labels = {**job.metadata.labels, f"from-{number}": "yes"}
            try:
                await jobs.replace(replace(job, metadata=replace(job.metadata, labels=labels)))
            except ConflictError:
                conflicts += 1
            else:
                return
        raise AssertionError("never came through")

    async with following(*(each._informer for each in others)):
        await asyncio.gather(*(label(jobs, number) for number, jobs in enumerate([here.jobs, *others])))

    labels = stored(here)["metadata"]["labels"]
    assert {f"from-{number}" for number in range(4)} <= labels.keys()
    assert here.server.count("patch") <= 4 + 2 * conflicts


async def test_a_read_that_is_newer_than_the_cache_is_the_better_base(here: World) -> None:
    job = await known(here)
    here.server.muted = True
    here.put(image="nginx:2")
    newer = await here.client.get(IMAGE_PULL_JOBS, WEB)
    assert here.jobs.get(WEB) == job

    changed = await here.jobs.replace(with_image(newer, "nginx:3"))

    assert changed.metadata.generation == newer.metadata.generation + 1
    assert here.jobs.get(WEB) == changed


async def test_what_was_made_without_a_spec_of_its_own_has_one(here: World) -> None:
    await here.jobs.create(new_job())

    body = here.server.requests[-1].body

    assert (body["apiVersion"], body["kind"]) == ("apps.kruise.io/v1beta1", "ImagePullJob")
    assert body["spec"] == {"image": "nginx:1"}
