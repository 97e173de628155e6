"""The faulty registry as real runtimes see it: each fault does what it says, and no more."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.cri.errors import CriError
from daemon.cri.types import Auth
from tests.testbed import faults
from tests.testbed.access import Basic, Bearer
from tests.testbed.certificates import Flaw, make_certificates
from tests.testbed.containerd import Containerd
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.images import Platform, build, build_index, random_layer
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.session import HOST_NAME, Session

TIMEOUT = 30.0


@pytest_asyncio.fixture
async def cri(containerd: Containerd) -> AsyncIterator[CriClient]:
    channel = Channel(str(containerd.socket))
    yield CriClient(channel)
    await channel.close()


@pytest_asyncio.fixture
async def image(faulty_image_maker: ImageMaker) -> Image:
    return await faulty_image_maker.make_random("app", 200_000, 1000)


async def test_without_faults_it_is_a_registry(
    cri: CriClient, faulty_registry: FaultyRegistry, image: Image
) -> None:
    await cri.pull_image(image.ref, timeout=TIMEOUT)

    assert [faulty_registry.bytes_of(layer.digest) for layer in image.layers] == [
        layer.size for layer in image.layers
    ]


async def test_a_throttled_pull_takes_the_time_of_its_bytes(
    cri: CriClient, faulty_registry: FaultyRegistry, image: Image
) -> None:
    faulty_registry.go_wrong(faults.throttle(400_000))
    began = asyncio.get_running_loop().time()

    await cri.pull_image(image.ref, timeout=TIMEOUT)

    took = asyncio.get_running_loop().time() - began
    assert 0.45 < took < 1.5


async def test_a_held_pull_goes_on_when_released(
    cri: CriClient, faulty_registry: FaultyRegistry, image: Image
) -> None:
    big = image.layers[0].digest
    fault = faulty_registry.go_wrong(faults.hold(100_000, big))
    pull = asyncio.create_task(cri.pull_image(image.ref, timeout=TIMEOUT))
    await asyncio.wait_for(fault.held.wait(), TIMEOUT)

    held_at = faulty_registry.bytes_of(big)
    fault.release()
    await pull

    assert held_at == 100_000
    assert faulty_registry.bytes_of(big) == image.layers[0].size


async def test_a_pull_that_is_given_up_ends_at_the_registry(
    cri: CriClient, faulty_registry: FaultyRegistry, image: Image
) -> None:
    fault = faulty_registry.go_wrong(faults.hold(-1))
    pull = asyncio.create_task(cri.pull_image(image.ref, timeout=TIMEOUT))
    await asyncio.wait_for(fault.held.wait(), TIMEOUT)

    pull.cancel()
    await asyncio.wait([pull])

    assert pull.cancelled()
    assert await cri.image_status(image.ref) is None


@pytest.mark.parametrize(
    "fault",
    [
        faults.answer(401),
        faults.answer(403),
        faults.answer(404),
        faults.answer(429, retry_after=1),
        faults.answer(500),
    ],
    ids=["401", "403", "404", "429", "500"],
)
async def test_an_error_fails_the_pull_and_recovery_mends_it(
    cri: CriClient, faulty_registry: FaultyRegistry, image: Image, fault: faults.Fault
) -> None:
    faulty_registry.go_wrong(fault)

    with pytest.raises(CriError):
        await cri.pull_image(image.ref, timeout=TIMEOUT)
    faulty_registry.recover()
    await cri.pull_image(image.ref, timeout=TIMEOUT)

    assert fault.hits > 0


async def test_a_reset_is_met_once(cri: CriClient, faulty_registry: FaultyRegistry, image: Image) -> None:
    fault = faulty_registry.go_wrong(faults.reset(50_000, image.layers[0].digest, times=1))

    await _pulled_in_the_end(cri, image)

    sent = [served.bytes for served in faulty_registry.requests(image.layers[0].digest)]
    assert fault.hits == 1
    assert sent[0] == 50_000


@pytest.mark.parametrize("fault", [faults.garbage(), faults.corrupt()], ids=["garbage", "corrupt"])
async def test_wrong_bytes_fail_the_pull_of_their_image_alone(
    cri: CriClient, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker, fault: faults.Fault
) -> None:
    good, bad = [await faulty_image_maker.make_random(name, 5000) for name in ("good", "bad")]
    faulty_registry.go_wrong(dataclasses.replace(fault, path=f"{bad.repository}{fault.path}"))

    # Not pulled again afterwards: containerd keeps the wrong bytes and would go on from them.
    with pytest.raises(CriError, match=r"unexpected commit digest|EOF"):
        await cri.pull_image(bad.ref, timeout=TIMEOUT)
    await cri.pull_image(good.ref, timeout=TIMEOUT)

    assert await cri.image_status(bad.ref) is None
    assert await cri.image_status(good.ref) is not None


async def test_too_many_requests_say_when_to_come_back(faulty_registry: FaultyRegistry, image: Image) -> None:
    faulty_registry.go_wrong(faults.answer(429, "/manifests/", retry_after=7))

    url = f"{faulty_registry.url}/v2/{image.repository}/manifests/v1"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        seen = answer.status, answer.headers["Retry-After"], (await answer.json())["errors"][0]["code"]

    assert seen == (429, "7", "TOOMANYREQUESTS")


async def test_registry_tokens_are_taken_as_they_are(faulty_registry: FaultyRegistry, image: Image) -> None:
    faulty_registry.access = Bearer(registry_tokens={"granted"})
    url = f"{faulty_registry.url}/v2/{image.repository}/blobs/{image.layers[1].digest}"

    seen = []
    async with aiohttp.ClientSession() as http:
        for token in ("granted", "other"):
            async with http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
                seen.append(answer.status)

    assert seen == [200, 401]


async def test_basic_auth_is_checked(cri: CriClient, faulty_registry: FaultyRegistry, image: Image) -> None:
    faulty_registry.access = Basic({"me": "secret"})

    with pytest.raises(CriError):
        await cri.pull_image(image.ref, timeout=TIMEOUT, auth=Auth(username="me", password="wrong"))
    await cri.pull_image(image.ref, timeout=TIMEOUT, auth=Auth(username="me", password="secret"))

    assert {served.user for served in faulty_registry.requests("/blobs/")} == {"me"}


@pytest.mark.parametrize(
    ("auth", "user"),
    [
        (Auth(username="me", password="secret"), "me"),
        (Auth(identity_token="refresh"), "identity-token"),
        (None, "anonymous"),
    ],
    ids=["password", "identity token", "anonymous"],
)
async def test_bearer_tokens_are_given_and_checked(
    cri: CriClient, faulty_registry: FaultyRegistry, image: Image, auth: Auth | None, user: str
) -> None:
    access = Bearer({"me": "secret"}, identity_tokens={"refresh"}, anonymous=True)
    faulty_registry.access = access

    await cri.pull_image(image.ref, timeout=TIMEOUT, auth=auth)

    assert {served.user for served in faulty_registry.requests("/blobs/")} == {user}
    assert access.grants


async def test_a_wrong_identity_token_is_refused(
    cri: CriClient, faulty_registry: FaultyRegistry, image: Image
) -> None:
    faulty_registry.access = Bearer(identity_tokens={"refresh"})

    with pytest.raises(CriError):
        await cri.pull_image(image.ref, timeout=TIMEOUT, auth=Auth(identity_token="stolen"))

    assert faulty_registry.requests("/blobs/") == []


@pytest.mark.parametrize("flaw", ["expired", "wrong name", "unknown authority"])
async def test_a_bad_certificate_is_refused(
    cri: CriClient, testbed: Session, prefix: str, flaw: Flaw
) -> None:
    bad = FaultyRegistry(HOST_NAME, certificates=make_certificates(testbed.new_directory("t"), flaw))
    await bad.start()
    try:
        made = await ImageMaker(bad, prefix).make_random("app", 1000)

        with pytest.raises(CriError, match=r"certificate|x509"):
            await cri.pull_image(made.ref, timeout=TIMEOUT)

        assert bad.requests() == []
    finally:
        await bad.stop()


async def test_a_good_certificate_is_accepted(
    cri: CriClient, faulty_tls_registry: FaultyRegistry, prefix: str
) -> None:
    made = await ImageMaker(faulty_tls_registry, prefix).make_random("app", 1000)

    await cri.pull_image(made.ref, timeout=TIMEOUT)

    assert await cri.image_status(made.ref) is not None


async def test_an_index_gives_each_machine_its_own_image(
    cri: CriClient, faulty_image_maker: ImageMaker
) -> None:
    here, there = Platform("amd64"), Platform("riscv64")
    parts = [
        build([random_layer(f"{faulty_image_maker.prefix}/{p}", 100)], platform=p) for p in (here, there)
    ]
    made = await faulty_image_maker.store("app", build_index(parts))

    await cri.pull_image(made.ref, timeout=TIMEOUT)

    image = await cri.image_status(made.ref)
    assert image is not None
    assert parts[0].config is not None
    assert image.id == parts[0].config.digest
    assert image.repo_digests == (made.by_digest,)


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
async def test_an_index_without_this_machine_is_refused(
    cri: CriClient, faulty_image_maker: ImageMaker, docker: bool
) -> None:
    other = build([random_layer(faulty_image_maker.prefix, 100)], platform=Platform("riscv64"), docker=docker)
    made = await faulty_image_maker.store("app", build_index([other], docker=docker))

    with pytest.raises(CriError, match="no match for platform"):
        await cri.pull_image(made.ref, timeout=TIMEOUT)


async def test_a_stopped_registry_is_back_on_its_port(
    cri: CriClient, faulty_registry: FaultyRegistry, image: Image
) -> None:
    await faulty_registry.stop()

    with pytest.raises(CriError, match="refused"):
        await cri.pull_image(image.ref, timeout=TIMEOUT)
    await faulty_registry.start()
    await cri.pull_image(image.ref, timeout=TIMEOUT)

    assert await cri.image_status(image.ref) is not None


async def _pulled_in_the_end(cri: CriClient, image: Image) -> None:
    """A runtime may mend a broken connection itself (2.3 does), or leave it to whoever called."""
    try:
        await cri.pull_image(image.ref, timeout=TIMEOUT)
    except CriError:
        await cri.pull_image(image.ref, timeout=TIMEOUT)
