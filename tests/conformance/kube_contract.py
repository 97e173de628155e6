"""What client, informers, leases and events expect of an API server, the fake one and the real one alike."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from msgspec.structs import replace

from daemon.engine.clock import SystemClock
from daemon.engine.objects import ConflictError, NotFoundError
from daemon.kube.client import ApiClient
from daemon.kube.election import Election
from daemon.kube.errors import ChangedError, ExpiredError, MissingError, RefusedError, TakenError
from daemon.kube.events import EventRecorder
from daemon.kube.informer import Informer
from daemon.kube.leases import Heartbeat, Pulses
from daemon.kube.objects import KubeObjects
from daemon.kube.patches import merge_patch
from daemon.kube.resources import EVENTS, IMAGE_PULL_JOBS, LEASES, NODE_IMAGES
from daemon.kube.selections import EVERYTHING, Selection, only
from daemon.metrics import Metrics
from daemon.objects.events import Event
from daemon.objects.images import ImagePullJob, NodeImage
from daemon.objects.meta import Key, LabelSelector, ObjectMeta
from tests.conformance.objects_contract import new_job, with_desired, with_image
from tests.fakes.following import following, running, until, within

WEB = Key("default", "web")
NOBODY = "00000000-0000-0000-0000-000000000000"


def jobs_of(client: ApiClient, selection: Selection = EVERYTHING) -> Informer[ImagePullJob]:
    return Informer(client, IMAGE_PULL_JOBS, Metrics(), selection=selection)


def labelled(job: ImagePullJob, app: str) -> ImagePullJob:
    return replace(job, metadata=replace(job.metadata, labels={"app": app}))


def unversioned(job: ImagePullJob) -> ImagePullJob:
    return replace(job, metadata=replace(job.metadata, resource_version=""))


async def outdated(client: ApiClient) -> KubeObjects[ImagePullJob]:
    """The jobs as they are now, followed no longer."""
    informer = jobs_of(client)
    async with following(informer):
        return KubeObjects(client, informer)


class KubeContract:
    """Every expectation. Subclasses provide ``client``: an administrator's, of a server without objects."""

    async def test_informer_sees_what_was_there_and_what_comes_and_goes(self, client: ApiClient) -> None:
        before = await client.create(IMAGE_PULL_JOBS, new_job("before"))
        jobs = jobs_of(client)

        async with following(jobs):
            assert list(jobs.list()) == [before]
            after = await client.create(IMAGE_PULL_JOBS, new_job("after"))
            await until(jobs, lambda: jobs.get(after.metadata.key) == after)
            await client.delete(IMAGE_PULL_JOBS, before.metadata.key)
            await until(jobs, lambda: jobs.get(before.metadata.key) is None)

        assert list(jobs.list()) == [after]

    async def test_informer_goes_on_where_it_stopped(self, client: ApiClient) -> None:
        jobs = jobs_of(client)
        async with following(jobs):
            gone = await client.create(IMAGE_PULL_JOBS, new_job("gone"))
            await until(jobs, lambda: jobs.get(gone.metadata.key) is not None)
        await client.delete(IMAGE_PULL_JOBS, gone.metadata.key)
        made = await client.create(IMAGE_PULL_JOBS, new_job("made"))

        async with following(jobs):
            await until(jobs, lambda: list(jobs.list()) == [made])

        assert jobs.get(gone.metadata.key) is None

    async def test_all_objects_are_listed_at_one_version(self, client: ApiClient) -> None:
        made = [await client.create(IMAGE_PULL_JOBS, new_job(f"job-{number}")) for number in range(5)]

        listed = await client.list(IMAGE_PULL_JOBS)

        assert sorted(listed.objects, key=lambda job: job.metadata.name) == made
        assert int(listed.resource_version) >= int(made[-1].metadata.resource_version)

    async def test_what_leaves_a_selection_is_gone_and_may_come_back(self, client: ApiClient) -> None:
        jobs = jobs_of(client, Selection(labels=LabelSelector(match_labels={"app": "web"})))
        made = await client.create(IMAGE_PULL_JOBS, new_job())
        away = merge_patch({"metadata": {"labels": {"app": "db"}}})
        back = merge_patch({"metadata": {"labels": {"app": "web"}}})

        async with following(jobs):
            assert list(jobs.list()) == [made]
            await client.patch(IMAGE_PULL_JOBS, WEB, away)
            await until(jobs, lambda: not jobs.list())
            again = await client.patch(IMAGE_PULL_JOBS, WEB, back)
            await until(jobs, lambda: list(jobs.list()) == [again])

    async def test_an_own_write_may_lead_out_of_a_selection(self, client: ApiClient) -> None:
        informer = jobs_of(client, Selection(labels=LabelSelector(match_labels={"app": "web"})))
        jobs = KubeObjects(client, informer)

        async with following(informer):
            made = await jobs.create(new_job())
            away = await jobs.replace(labelled(made, "db"))
            assert jobs.get(WEB) is None
            again = await client.patch(
                IMAGE_PULL_JOBS, WEB, merge_patch({"metadata": {"labels": {"app": "web"}}})
            )
            await until(informer, lambda: jobs.get(WEB) == again)

        assert away.metadata.labels == {"app": "db"}

    async def test_one_object_is_followed_by_its_name(self, client: ApiClient) -> None:
        nodes = Informer(client, NODE_IMAGES, Metrics(), selection=only("node-a"))
        await client.create(NODE_IMAGES, NodeImage(metadata=ObjectMeta(name="node-b")))

        async with following(nodes):
            made = await client.create(NODE_IMAGES, NodeImage(metadata=ObjectMeta(name="node-a")))
            await until(nodes, lambda: nodes.get(Key("", "node-a")) is not None)

        assert list(nodes.list()) == [made]

    async def test_a_version_that_nobody_remembers_has_expired(self, client: ApiClient) -> None:
        with pytest.raises(ExpiredError):
            async with client.watch(IMAGE_PULL_JOBS, Selection(), since="1") as watch:
                await within(watch.changes())

    async def test_refusals_have_their_own_errors(self, client: ApiClient) -> None:
        await client.create(IMAGE_PULL_JOBS, new_job())

        with pytest.raises(TakenError):
            await client.create(IMAGE_PULL_JOBS, new_job())
        with pytest.raises(MissingError):
            await client.get(IMAGE_PULL_JOBS, Key("default", "absent"))
        with pytest.raises(ChangedError):
            await client.patch(
                IMAGE_PULL_JOBS,
                WEB,
                merge_patch({"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}),
            )
        with pytest.raises(ChangedError):
            await client.delete(IMAGE_PULL_JOBS, WEB, uid=NOBODY)
        with pytest.raises(RefusedError) as caught:
            await client.patch(IMAGE_PULL_JOBS, WEB, merge_patch({"metadata": {"uid": NOBODY}}))

        assert [cause.field for cause in caught.value.causes][:1] == ["metadata.uid"]

    async def test_the_served_version_is_found(self, client: ApiClient) -> None:
        found = await client.served(IMAGE_PULL_JOBS, ("v9", "v1alpha1", "v1beta1"))

        assert found.version == "v1alpha1"
        with pytest.raises(MissingError):
            await client.served(IMAGE_PULL_JOBS, ("v9",))

    async def test_both_versions_show_the_same_object(self, client: ApiClient) -> None:
        old = IMAGE_PULL_JOBS.served_as("v1alpha1")

        made = await client.create(old, new_job())

        seen = await client.get(IMAGE_PULL_JOBS, WEB)
        assert (made.api_version, seen.api_version) == ("apps.kruise.io/v1alpha1", "apps.kruise.io/v1beta1")
        assert replace(seen, api_version=made.api_version) == made

    async def test_what_a_finalizer_holds_stays_until_it_lets_go(self, client: ApiClient) -> None:
        informer = jobs_of(client)
        jobs = KubeObjects(client, informer)
        await client.create(IMAGE_PULL_JOBS, new_job())
        hold = merge_patch({"metadata": {"finalizers": ["inplaced.dev/test"]}})
        held = await client.patch(IMAGE_PULL_JOBS, WEB, hold)

        async with following(informer):
            await jobs.delete(held)
            ending = jobs.get(WEB)
            await client.patch(IMAGE_PULL_JOBS, WEB, merge_patch({"metadata": {"finalizers": None}}))
            await until(informer, lambda: jobs.get(WEB) is None)

        assert ending is not None
        assert ending.metadata.deletion_timestamp is not None

    async def test_a_status_written_meanwhile_is_no_conflict_for_a_spec(self, client: ApiClient) -> None:
        informer = jobs_of(client)
        jobs = KubeObjects(client, informer)
        made = await client.create(IMAGE_PULL_JOBS, new_job())
        stale = await outdated(client)
        async with following(informer):
            await jobs.replace_status(with_desired(made, 5))

        changed = await stale.replace(with_image(made, "nginx:2"))

        assert (changed.spec.image, changed.status.desired) == ("nginx:2", 5)

    async def test_a_spec_changed_meanwhile_is_a_conflict_which_shows_it(self, client: ApiClient) -> None:
        made = await client.create(IMAGE_PULL_JOBS, new_job())
        stale = await outdated(client)
        newer = await client.patch(IMAGE_PULL_JOBS, WEB, merge_patch({"spec": {"parallelism": 3}}))

        with pytest.raises(ConflictError):
            await stale.replace(replace(made, spec=replace(made.spec, parallelism=2)))

        assert stale.get(WEB) == newer
        assert (await client.get(IMAGE_PULL_JOBS, WEB)).spec.parallelism == 3

    async def test_a_versioned_status_is_bound_to_what_was_read(self, client: ApiClient) -> None:
        made = await client.create(IMAGE_PULL_JOBS, new_job())
        stale = await outdated(client)
        newer = await client.patch(IMAGE_PULL_JOBS, WEB, merge_patch({"spec": {"parallelism": 3}}))

        with pytest.raises(ConflictError):
            await stale.replace_status(with_desired(made, 5))

        assert stale.get(WEB) == newer

    async def test_a_status_without_version_ends_as_it_was_meant(self, client: ApiClient) -> None:
        informer = jobs_of(client)
        jobs = KubeObjects(client, informer)
        made = await client.create(IMAGE_PULL_JOBS, new_job())
        stale = await outdated(client)
        async with following(informer):
            other = replace(with_desired(made, 7).status, failed=2, failed_nodes=("a", "b"), message="other")
            await jobs.replace_status(replace(made, status=other))
        meant = unversioned(with_desired(made, 5))

        told = await stale.replace_status(meant)

        assert told.status == meant.status
        assert (await client.get(IMAGE_PULL_JOBS, WEB)).status == meant.status

    async def test_a_predecessor_s_status_never_reaches_a_successor(self, client: ApiClient) -> None:
        old = await client.create(IMAGE_PULL_JOBS, new_job())
        stale = await outdated(client)
        await client.delete(IMAGE_PULL_JOBS, WEB)
        new = await client.create(IMAGE_PULL_JOBS, new_job())

        with pytest.raises(NotFoundError):
            await stale.replace_status(unversioned(with_desired(old, 5)))

        assert await client.get(IMAGE_PULL_JOBS, WEB) == new
        assert stale.get(WEB) == new

    async def test_a_predecessor_s_spec_and_end_never_reach_a_successor(self, client: ApiClient) -> None:
        old = await client.create(IMAGE_PULL_JOBS, new_job())
        stale = await outdated(client)
        await client.delete(IMAGE_PULL_JOBS, WEB)
        new = await client.create(IMAGE_PULL_JOBS, new_job())

        with pytest.raises(NotFoundError):
            await stale.replace(labelled(old, "db"))
        await stale.delete(old)

        assert await client.get(IMAGE_PULL_JOBS, WEB) == new

    async def test_a_heartbeat_makes_its_lease_and_renews_it(self, client: ApiClient) -> None:
        leases = Informer(client, LEASES, Metrics(), selection=Selection(namespace="default"))
        key = Key("default", "inplaced-node-a")
        beat = Heartbeat(client, key, "node-a", interval=0.1, duration=1, labels={"app": "agent"})
        pulses = Pulses(leases)

        async with following(leases):
            assert not pulses.alive(key)
            async with running(beat.run()):
                await until(leases, lambda: leases.get(key) is not None)
                first = leases.get(key)
                await until(leases, lambda: leases.get(key) != first)
                assert pulses.alive(key)
            await client.delete(LEASES, key)
            await until(leases, lambda: not pulses.alive(key))

        assert first is not None
        assert (first.spec.holder_identity, first.metadata.labels) == ("node-a", {"app": "agent"})

    async def test_a_lease_that_was_given_up_is_taken_at_once(self, client: ApiClient) -> None:
        key = Key("default", "inplaced-leader")
        one, other = (Election(client, key, name, lease_seconds=60, retry=0.05) for name in ("one", "other"))
        leading = {"one": asyncio.Event(), "other": asyncio.Event()}

        async def lead(name: str) -> None:
            leading[name].set()
            await asyncio.Event().wait()

        async with AsyncExitStack() as second:
            async with running(one.run(lambda: lead("one"))):
                await within(leading["one"].wait())
                await second.enter_async_context(running(other.run(lambda: lead("other"))))
                assert (one.leading, other.leading) == (True, False)
            await within(leading["other"].wait())
            assert (one.leading, other.leading, other.leader) == (False, True, "other")
        await client.delete(LEASES, key)

    async def test_an_event_is_told_of_its_object(self, client: ApiClient) -> None:
        job = await client.create(IMAGE_PULL_JOBS, new_job())
        node = await client.create(NODE_IMAGES, NodeImage(metadata=ObjectMeta(name="node-a")))
        recorder = EventRecorder(
            client, Metrics(), SystemClock(), controller="inplaced.dev/test", instance="test"
        )
        events = Informer(client, EVENTS, Metrics())

        async with following(events), running(recorder.run()):
            recorder.record(IMAGE_PULL_JOBS, job, "Started", "pulls on 3 nodes", action="Pull")
            recorder.record(NODE_IMAGES, node, "PullFailed", "no such image", type_="Warning")
            await until(events, lambda: len(told(events, job, node)) == 2)

        assert told(events, job, node) == {
            ("Started", "Pull", "pulls on 3 nodes", "Normal", "default"),
            ("PullFailed", "PullFailed", "no such image", "Warning", "default"),
        }


def told(events: Informer[Event], *about: ImagePullJob | NodeImage) -> set[tuple[str, ...]]:
    """Reason, action, note, type and namespace of the events about these objects."""
    uids = {obj.metadata.uid for obj in about}
    return {
        (each.reason, each.action, each.note, each.type, each.metadata.namespace)
        for each in events.list()
        if each.regarding.uid in uids
    }
