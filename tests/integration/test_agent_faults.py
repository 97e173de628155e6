"""Registries that go wrong, disks that are full, secrets: the whole agent on real containerds."""

import asyncio
from dataclasses import replace

import pytest

from daemon.debug.views import NodeView
from tests.testbed.agent import pull_job, secret
from tests.testbed.certificates import make_certificates
from tests.testbed.containerd import Containerd, Flavour
from tests.testbed.faults import Fault, answer, corrupt, garbage, hold, reset
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.fixtures import PASSWORD, USERNAME, MakeAgent, MakeContainerd
from tests.testbed.pushing import ImageMaker
from tests.testbed.session import HOST_NAME, Session
from tests.testbed.witness import Witness

MB = 1_000_000
MIB = 2**20


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        (answer(401), "Unauthorized", "pull secret"),
        (answer(403), "Denied", "access"),
        (answer(404), "ImageNotFound", "push it"),
        (answer(429), "RateLimited", "limit"),
        (answer(500), "RegistryUnreachable", "registry"),
        (reset(100), "RegistryUnreachable", "registry"),
        (hold(100), "TimedOut", "timeout"),
    ],
    ids=["401", "403", "404", "429", "500", "reset", "stall"],
)
async def test_a_registry_that_goes_wrong_is_named_and_asked_a_bounded_number_of_times(
    make_agent: MakeAgent,
    containerd: Containerd,
    witness: Witness,
    faulty_registry: FaultyRegistry,
    prefix: str,
    fault: Fault,
    reason: str,
    words: str,
) -> None:
    made = await ImageMaker(faulty_registry, prefix).make_random("app", 3000)
    # Of the parametrised one, as it counts and holds.
    faulty_registry.go_wrong(replace(fault, hits=0, held=asyncio.Event(), released=asyncio.Event()))
    agent = await make_agent(containerd, measure_images="false")

    policy = {"backoffLimit": 1, "timeoutSeconds": 1 if reason == "TimedOut" else 30}
    agent.write("app", pull_job("app", made.ref, pullPolicy=policy))
    job = (await agent.ended("app"))["app"]
    asked = len(faulty_registry.served)

    pull = await agent.pull(made.ref)
    assert (job.failed, pull.phase, pull.reason, pull.failures) == (1, "Failed", reason, 2), pull
    assert words in pull.remedy
    assert asked <= 60
    faulty_registry.recover()
    assert await witness.image(made.ref) is None


@pytest.mark.parametrize("spoil", [corrupt, garbage], ids=["layer", "manifest"])
async def test_wrong_bytes_are_forgotten_once_the_registry_recovers(
    make_agent: MakeAgent, containerd: Containerd, faulty_registry: FaultyRegistry, prefix: str, spoil: object
) -> None:
    made = await ImageMaker(faulty_registry, prefix).make_random("app", 3000)
    path = made.layers[0].digest if spoil is corrupt else "/manifests/"
    faulty_registry.go_wrong(spoil(path))  # type: ignore[operator]  # a function, whatever pytest says
    agent = await make_agent(containerd)

    agent.write("app", pull_job("app", made.ref, pullPolicy={"backoffLimit": 20}))
    await agent.until(lambda view: any(pull.failures for pull in view.pulls), "failed once")
    faulty_registry.recover()
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1, await agent.pull(made.ref)


async def test_a_bad_certificate_is_told_as_such(
    make_agent: MakeAgent,
    containerd: Containerd,
    testbed: Session,
    faulty_tls_registry: FaultyRegistry,
    prefix: str,
) -> None:
    made = await ImageMaker(faulty_tls_registry, prefix).make_random("app", 3000)
    stranger = make_certificates(testbed.new_directory("t"))
    containerd.trust(f"{HOST_NAME}:{faulty_tls_registry.port}", ca=stranger.ca, plain_http=False)
    agent = await make_agent(containerd)

    agent.write("app", pull_job("app", made.ref, pullPolicy={"backoffLimit": 1}))
    job = (await agent.ended("app"))["app"]

    pull = await agent.pull(made.ref)
    assert (job.failed, pull.reason, pull.failures) == (1, "TlsFailure", 2)
    assert "certificate" in pull.message


@pytest.mark.parametrize("form", ["dockerconfigjson", "dockercfg"])
async def test_a_private_image_comes_with_its_secret_which_is_seen_nowhere(
    make_agent: MakeAgent, containerd: Containerd, private_image_maker: ImageMaker, form: str
) -> None:
    made = await private_image_maker.make_random("app", 3000)
    agent = await make_agent(containerd, log_level="debug")
    wrong = secret("wrong", made.host, USERNAME, "a wrong password")
    right = secret("right", made.host, USERNAME, PASSWORD, form=form)

    agent.write("app", wrong, right, pull_job("app", made.ref, pullSecrets=["wrong", "right"]))
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1, await agent.pull(made.ref)
    pages = ["/statusz", "/metrics", "/flagz"] + [
        f"/debug/{page}" for page in ("pulls", "jobs", "tasks", "config")
    ]
    texts = [(await agent.get(page)).decode() for page in pages]
    texts += [agent.log, *(path.read_text() for path in agent.state.rglob("*") if path.is_file())]
    encoded = right["data"][f".{form}"]
    for word in (PASSWORD, "a wrong password", encoded):
        assert not [text for text in texts if word in text]


async def test_without_its_secret_a_private_image_is_unauthorised_and_a_public_one_still_comes(
    make_agent: MakeAgent, containerd: Containerd, private_image_maker: ImageMaker, image_maker: ImageMaker
) -> None:
    private = await private_image_maker.make_random("app", 3000)
    public = await image_maker.make_random("app", 3000)
    agent = await make_agent(containerd)
    useless = secret("useless", public.host, "nobody", "nothing")

    limit = {"backoffLimit": 0}
    agent.write("private", pull_job("private", private.ref, pullPolicy=limit))
    agent.write("public", useless, pull_job("public", public.ref, pullSecrets=["useless"], pullPolicy=limit))
    jobs = await agent.ended("private", "public")

    assert (jobs["private"].failed, jobs["public"].succeeded) == (1, 1)
    assert (await agent.pull(private.ref)).reason == "Unauthorized"


def is_held(view: NodeView) -> bool:
    return any(pull.reason == "NoSpace" for pull in view.pulls)


@pytest.mark.parametrize("measured", ["true", "false"])
async def test_a_full_disk_is_told_before_a_byte_is_fetched_and_the_pull_follows_when_it_is_freed(
    make_agent: MakeAgent,
    make_containerd: MakeContainerd,
    flavour: Flavour,
    faulty_registry: FaultyRegistry,
    prefix: str,
    measured: str,
) -> None:
    containerd = await make_containerd(flavour, disk_size=96 * MIB)
    made = await ImageMaker(faulty_registry, prefix).make_random("app", 8 * MIB)
    filler = containerd.root / "filler"
    filler.write_bytes(bytes(80 * MIB))
    agent = await make_agent(containerd, measure_images=measured, disk_floor_mib="40")

    agent.write("app", pull_job("app", made.ref))
    view = await agent.until(is_held, "held")
    fetched = faulty_registry.requests("/blobs/")
    filler.unlink()
    job = (await agent.ended("app"))["app"]

    assert fetched == []
    assert "Free space" in view.pulls[0].remedy
    assert job.succeeded == 1


async def test_two_images_that_fit_only_one_by_one_never_fill_the_disk(
    make_agent: MakeAgent,
    make_containerd: MakeContainerd,
    flavour: Flavour,
    faulty_registry: FaultyRegistry,
    prefix: str,
) -> None:
    containerd = await make_containerd(flavour, disk_size=96 * MIB)
    maker = ImageMaker(faulty_registry, prefix)
    one, two = await maker.make_random("one", 26 * MIB), await maker.make_random("two", 26 * MIB)
    held = faulty_registry.go_wrong(hold(-1))
    agent = await make_agent(containerd)

    agent.write("both", pull_job("one", one.ref), pull_job("two", two.ref))
    await held.held.wait()
    view = await agent.until(is_held, "one held")
    running = [pull.image for pull in view.pulls if pull.phase == "Pulling"]
    faulty_registry.recover()
    view = await agent.until(lambda view: any(job.succeeded for job in view.jobs), "one is there")

    assert len(running) == 1
    assert sum(job.succeeded for job in view.jobs) == 1
    assert faulty_registry.bytes_of("/blobs/") < 28 * MIB


async def test_two_versions_that_share_their_layers_both_come_to_a_disk_with_room_for_one(
    make_agent: MakeAgent,
    make_containerd: MakeContainerd,
    flavour: Flavour,
    faulty_registry: FaultyRegistry,
    prefix: str,
) -> None:
    containerd = await make_containerd(flavour, disk_size=96 * MIB)
    maker = ImageMaker(faulty_registry, prefix)
    one = await maker.make_random("app", 26 * MIB)
    two = await maker.make("app", one.layers, env={"VERSION": "2"}, tags=["v2"])
    held = faulty_registry.go_wrong(hold(-1))
    agent = await make_agent(containerd)

    agent.write("both", pull_job("one", one.ref), pull_job("two", two.ref))
    await held.held.wait()
    await agent.until(is_held, "one held")
    faulty_registry.recover()
    jobs = await agent.ended("one", "two")

    assert {job.succeeded for job in jobs.values()} == {1}
    assert len([served for served in faulty_registry.requests(one.layers[0].digest) if served.bytes]) == 1
