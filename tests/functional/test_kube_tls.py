"""TLS connections to the API server: what is read through their small buffers, and what they keep."""

import asyncio
import ssl
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from daemon.kube.access import Credentials, Fixed
from daemon.kube.client import ApiClient
from daemon.kube.errors import UnreachableError
from daemon.kube.resources import IMAGE_PULL_JOBS
from daemon.metrics import Metrics
from tests.conformance.objects_contract import new_job
from tests.fakes.apiserver import FakeApiServer
from tests.functional.kube_world import WEB
from tests.testbed.certificates import make_certificates

CONNECTIONS = 4


@pytest_asyncio.fixture
async def client(tmp_path: Path) -> AsyncIterator[ApiClient]:
    made = make_certificates(tmp_path)
    server = FakeApiServer()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(made.chain, made.key)
    trusting = Credentials(tls=ssl.create_default_context(cafile=made.ca))
    async with server, ApiClient(Fixed(server.url, trusting), Metrics()) as found:
        yield found


async def test_a_server_of_another_authority_is_told_without_addresses_in_memory(tmp_path: Path) -> None:
    made = make_certificates(tmp_path)
    server = FakeApiServer()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(made.chain, made.key)
    others = Credentials(tls=ssl.create_default_context())
    async with server, ApiClient(Fixed(server.url, others), Metrics()) as client:
        with pytest.raises(
            UnreachableError, match=r"cannot connect to .*certificate verify failed"
        ) as caught:
            await client.get(IMAGE_PULL_JOBS, WEB)

    assert "object at 0x" not in str(caught.value)


async def test_an_answer_larger_than_any_buffer_arrives_whole(client: ApiClient) -> None:
    job = new_job()
    long = {"example.com/text": "x" * 200_000}
    metadata = msgspec.structs.replace(job.metadata, annotations=long)
    await client.create(IMAGE_PULL_JOBS, msgspec.structs.replace(job, metadata=metadata))

    assert (await client.get(IMAGE_PULL_JOBS, WEB)).metadata.annotations == long


async def test_a_connection_keeps_less_than_a_tenth_of_a_megabyte(client: ApiClient) -> None:
    await client.create(IMAGE_PULL_JOBS, new_job())
    only_tls = tracemalloc.Filter(True, "*/asyncio/sslproto.py")
    tracemalloc.start()
    try:
        await asyncio.gather(*(client.get(IMAGE_PULL_JOBS, WEB) for _ in range(CONNECTIONS + 1)))
        kept = tracemalloc.take_snapshot().filter_traces([only_tls]).traces
    finally:
        tracemalloc.stop()

    # Both ends are of this process.
    assert sum(trace.size for trace in kept) < 2 * CONNECTIONS * 100_000
