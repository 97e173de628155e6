"""Registries that go wrong, seen through real runtimes: each failure has the class that names its remedy."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from daemon.cri import errors
from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.cri.types import Auth
from tests.testbed import faults
from tests.testbed.access import Basic, Bearer
from tests.testbed.certificates import Flaw, make_certificates
from tests.testbed.containerd import Containerd, Flavour
from tests.testbed.faults import Fault
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.fixtures import MakeContainerd
from tests.testbed.images import Platform, build, build_index, random_layer
from tests.testbed.processes import free_port
from tests.testbed.pushing import ImageMaker
from tests.testbed.session import HOST_NAME

TIMEOUT = 60.0
SHORT = 2.0
DEADLINE = 20.0
MIB = 2**20


@pytest_asyncio.fixture
async def cri(containerd: Containerd) -> AsyncIterator[CriClient]:
    async with Channel(str(containerd.socket)) as channel:
        yield CriClient(channel)


async def _failure(
    cri: CriClient, ref: str, *, auth: Auth | None = None, timeout: float = TIMEOUT
) -> errors.CriError:
    with pytest.raises(errors.CriError) as caught:
        await cri.pull_image(ref, timeout=timeout, auth=auth)
    return caught.value


@pytest.mark.parametrize("path", ["/manifests/", "/blobs/"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, errors.UnauthorizedError),
        (403, errors.DeniedError),
        (404, errors.ImageNotFoundError),
        (429, errors.RateLimitedError),
        (500, errors.RegistryUnreachableError),
        (503, errors.RegistryUnreachableError),
    ],
)
async def test_a_status_of_the_registry_has_its_class(
    cri: CriClient,
    faulty_registry: FaultyRegistry,
    faulty_image_maker: ImageMaker,
    path: str,
    status: int,
    kind: type[errors.CriError],
) -> None:
    made = await faulty_image_maker.make_random("app", 1000)
    faulty_registry.go_wrong(faults.answer(status, path))

    assert type(await _failure(cri, made.ref)) is kind


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.reset(0, "/manifests/"), errors.RegistryUnreachableError),
        (faults.reset(100), errors.RegistryUnreachableError),
        (faults.garbage(), errors.RegistryUnreachableError),
        (faults.corrupt(), errors.PullFailedError),
    ],
    ids=["manifest reset", "blob reset", "garbage", "corrupt"],
)
async def test_a_broken_answer_of_the_registry_has_its_class(
    cri: CriClient,
    faulty_registry: FaultyRegistry,
    faulty_image_maker: ImageMaker,
    fault: Fault,
    kind: type[errors.CriError],
) -> None:
    made = await faulty_image_maker.make_random("app", 1000)
    faulty_registry.go_wrong(fault)

    assert type(await _failure(cri, made.ref)) is kind


async def test_a_registry_that_stalls_ends_at_the_deadline(
    cri: CriClient, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    made = await faulty_image_maker.make_random("app", 1000)
    faulty_registry.go_wrong(faults.hold(10))

    assert isinstance(await _failure(cri, made.ref, timeout=SHORT), errors.TimedOutError)


async def test_a_cancelled_pull_ends_the_download(
    cri: CriClient, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    made = await faulty_image_maker.make_random("app", 1000)
    fault = faulty_registry.go_wrong(faults.hold(10))
    pull = asyncio.create_task(cri.pull_image(made.ref, timeout=600))
    async with asyncio.timeout(DEADLINE):
        await fault.held.wait()

    pull.cancel()
    await asyncio.wait([pull])
    faulty_registry.recover()

    # Were the first one still alive, containerd would make the second wait for its half-fetched layer.
    assert pull.cancelled()
    assert await cri.pull_image(made.ref, timeout=DEADLINE) == made.config_digest


@pytest.mark.parametrize("auth", [None, Auth("tester", "wrong")], ids=["none", "wrong"])
@pytest.mark.parametrize(
    "access", [Basic({"tester": "right"}), Bearer({"tester": "right"})], ids=["basic", "bearer"]
)
async def test_missing_and_wrong_credentials_are_unauthorized(
    cri: CriClient,
    faulty_registry: FaultyRegistry,
    faulty_image_maker: ImageMaker,
    access: Basic | Bearer,
    auth: Auth | None,
) -> None:
    made = await faulty_image_maker.make_random("app", 1000)
    faulty_registry.access = access

    assert isinstance(await _failure(cri, made.ref, auth=auth), errors.UnauthorizedError)


@pytest.mark.parametrize(
    "access", [Basic({"tester": "right"}), Bearer({"tester": "right"})], ids=["basic", "bearer"]
)
async def test_right_credentials_pull(
    cri: CriClient, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker, access: Basic | Bearer
) -> None:
    made = await faulty_image_maker.make_random("app", 1000)
    faulty_registry.access = access

    pulled = await cri.pull_image(made.ref, timeout=TIMEOUT, auth=Auth("tester", "right"))

    assert pulled == made.config_digest


@pytest.mark.parametrize("flaw", ["expired", "wrong name", "unknown authority"])
async def test_a_bad_certificate_is_a_failure_of_tls(
    cri: CriClient, containerd: Containerd, tmp_path: Path, flaw: Flaw
) -> None:
    certificates = make_certificates(tmp_path, flaw)
    registry = FaultyRegistry(HOST_NAME, certificates=certificates)
    await registry.start()
    try:
        containerd.trust(registry.host, ca=certificates.ca)
        made = await ImageMaker(registry).make_random("app", 1000)

        failure = await _failure(cri, made.ref)
    finally:
        await registry.stop()

    assert isinstance(failure, errors.TlsFailureError)


async def test_a_registry_without_tls_is_a_failure_of_tls(cri: CriClient, containerd: Containerd) -> None:
    registry = FaultyRegistry(HOST_NAME)
    await registry.start()
    try:
        containerd.trust(registry.host, plain_http=False)
        failure = await _failure(cri, f"{registry.host}/app:v1")
    finally:
        await registry.stop()

    assert isinstance(failure, errors.TlsFailureError)


async def test_nobody_at_the_registrys_port_is_unreachable(cri: CriClient) -> None:
    failure = await _failure(cri, f"127.0.0.1:{free_port()}/app:v1")

    assert isinstance(failure, errors.RegistryUnreachableError)


async def test_a_host_that_does_not_exist_is_unreachable(cri: CriClient) -> None:
    failure = await _failure(cri, "no-such-host.invalid/app:v1")

    assert isinstance(failure, errors.RegistryUnreachableError)


@pytest.mark.parametrize(
    "ref", ["registry.test/App:v1", "a b", "", "registry.test/app:bad tag", "registry.test/app@sha256:12"]
)
async def test_what_is_no_reference_is_refused_as_such(cri: CriClient, ref: str) -> None:
    assert isinstance(await _failure(cri, ref), errors.InvalidReferenceError)


async def test_an_image_for_other_machines_is_of_the_wrong_platform(
    cri: CriClient, image_maker: ImageMaker
) -> None:
    elsewhere = build([random_layer(image_maker.prefix, 100)], platform=Platform("linux", "s390x"))
    made = await image_maker.store("app", build_index([elsewhere]))

    assert isinstance(await _failure(cri, made.ref), errors.WrongPlatformError)


async def test_a_full_disk_has_no_space(
    make_containerd: MakeContainerd, flavour: Flavour, image_maker: ImageMaker
) -> None:
    containerd = await make_containerd(flavour, disk_size=32 * MIB)
    made = await image_maker.make_random("app", 40 * MIB)

    async with Channel(str(containerd.socket)) as channel:
        failure = await _failure(CriClient(channel), made.ref)

    assert isinstance(failure, errors.NoSpaceError)


async def test_no_failure_shows_the_credentials_of_its_pull(
    cri: CriClient, faulty_registry: FaultyRegistry, faulty_image_maker: ImageMaker
) -> None:
    made = await faulty_image_maker.make_random("app", 1000)
    faulty_registry.access = Bearer({"tester": "right"})

    failure = await _failure(cri, made.ref, auth=Auth("tester", "Wr0ng-s3cret"))

    assert "s3cret" not in f"{failure} {failure!r}"
