"""Sizes as a real registry tells them, reached through the very configuration that containerd pulls with."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from daemon.cri.extras import Blob
from daemon.nodeimages.credentials import Credential
from daemon.nodeimages.hosts import HostsConfig
from daemon.nodeimages.registry import ImageSize, NotFoundError, RegistryClient, UnauthorisedError
from daemon.objects.references import parse
from tests.testbed.fixtures import PASSWORD, USERNAME
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.session import Session

TIMEOUT = 30.0


@pytest.fixture
async def client(testbed: Session) -> AsyncIterator[RegistryClient]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield RegistryClient(session, HostsConfig([testbed.certificates]))


def size_of(image: Image) -> ImageSize:
    config = image.build.config
    assert config is not None
    layers = tuple(Blob(layer.digest, layer.size) for layer in image.layers)
    return ImageSize(image.digest, Blob(config.digest, config.size), layers)


async def test_the_size_that_was_pushed_is_read_by_tag_and_by_digest(
    client: RegistryClient, image_maker: ImageMaker
) -> None:
    image = await image_maker.make_random("app", 1000, 200_000)

    by_tag = await client.measure(parse(image.ref), (), timeout=TIMEOUT)
    by_digest = await client.measure(parse(image.by_digest), (), timeout=TIMEOUT)

    assert by_tag == by_digest == size_of(image)


async def test_an_image_that_is_missing_is_not_found(client: RegistryClient, image_maker: ImageMaker) -> None:
    with pytest.raises(NotFoundError):
        await client.measure(parse(image_maker.missing("gone")), (), timeout=TIMEOUT)


async def test_a_private_image_needs_the_right_credential(
    client: RegistryClient, private_registry: Registry
) -> None:
    image = await ImageMaker(private_registry, "sizes").make_random("private", 5000)
    right, wrong = Credential(USERNAME, PASSWORD), Credential(USERNAME, "wrong")

    assert await client.measure(parse(image.ref), (wrong, right), timeout=TIMEOUT) == size_of(image)
    with pytest.raises(UnauthorisedError):
        await client.measure(parse(image.ref), (wrong,), timeout=TIMEOUT)


async def test_the_authority_that_containerd_trusts_is_trusted(
    client: RegistryClient, tls_registry: Registry
) -> None:
    image = await ImageMaker(tls_registry, "sizes").make_random("secure", 5000)

    assert await client.measure(parse(image.ref), (), timeout=TIMEOUT) == size_of(image)
