"""Requests to an API server that is busy, slow, broken, or lets nobody in."""

import asyncio
import shutil
import ssl
import time
import traceback
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from daemon.kube.access import AccessError, Credentials, Fixed, InCluster
from daemon.kube.client import ApiClient
from daemon.kube.errors import (
    BusyError,
    ForbiddenError,
    OverdueError,
    RefusedError,
    ServerError,
    UnauthorizedError,
    UnreachableError,
    UnreadableError,
)
from daemon.kube.patches import merge_patch
from daemon.kube.resources import CLUSTER_NODE_IMAGES, IMAGE_PULL_JOBS, SECRETS
from daemon.metrics import Metrics
from daemon.objects.images import Secret
from daemon.objects.meta import ObjectMeta
from tests.conformance.objects_contract import new_job
from tests.fakes.apifaults import Fault
from tests.fakes.apiserver import KINDS, FakeApiServer
from tests.fakes.apistorage import Served
from tests.fakes.following import running, within
from tests.functional.kube_world import WEB, World, world
from tests.testbed.certificates import make_certificates


@pytest_asyncio.fixture
async def here() -> AsyncIterator[World]:
    async with world() as made:
        made.put()
        yield made


def count(metrics: Metrics, verb: str, resource: str, code: str) -> float | None:
    labels = {"verb": verb, "resource": resource, "code": code}
    return metrics.registry.get_sample_value("inplaced_api_requests_total", labels)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_says_when_to_come_back_is_asked_again_then(here: World, status: int) -> None:
    here.server.fail(Fault(status=status, retry_after=1))
    started = time.monotonic()

    job = await here.client.get(IMAGE_PULL_JOBS, WEB)

    assert job.spec.image == "nginx:1"
    assert 1.0 <= time.monotonic() - started < 4.0
    assert [each.code for each in here.server.requests] == [status, 200]


async def test_a_write_is_tried_again_when_the_server_asks_for_it(here: World) -> None:
    here.server.fail(Fault(status=429, verb="patch", retry_after=1))

    job = await here.client.patch(IMAGE_PULL_JOBS, WEB, merge_patch({"spec": {"image": "nginx:2"}}))

    assert job.spec.image == "nginx:2"


@pytest.mark.parametrize("status", [500, 503, 504])
async def test_a_failure_that_asks_for_nothing_is_told_at_once(here: World, status: int) -> None:
    here.server.fail(Fault(status=status))

    with pytest.raises(ServerError) as caught:
        await here.client.get(IMAGE_PULL_JOBS, WEB)

    assert caught.value.status == status
    assert len(here.server.requests) == 1


async def test_nobody_waits_longer_than_the_deadline_for_a_busy_server(here: World) -> None:
    here.server.fail(Fault(status=429, retry_after=60))

    with pytest.raises(BusyError) as caught:
        await within(here.client.get(IMAGE_PULL_JOBS, WEB), 2.0)

    assert caught.value.retry_after == 60.0


async def test_a_server_that_never_answers_is_overdue(here: World) -> None:
    here.server.fail(Fault(hang=True))
    async with ApiClient(Fixed(here.server.url), here.metrics, deadline=0.2) as client:
        with pytest.raises(OverdueError):
            await within(client.get(IMAGE_PULL_JOBS, WEB), 2.0)

    assert count(here.metrics, "get", "imagepulljobs", "none") == 1.0


async def test_a_call_ends_when_it_is_cancelled(here: World) -> None:
    here.server.fail(Fault(hang=True))
    call = asyncio.create_task(here.client.get(IMAGE_PULL_JOBS, WEB))
    await here.server.until(lambda: here.server.count("get") == 1)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await within(call, 2.0)


async def test_a_connection_that_breaks_is_no_answer(here: World) -> None:
    here.server.fail(Fault(verb="patch", reset=True))

    with pytest.raises(UnreachableError):
        await here.client.patch(IMAGE_PULL_JOBS, WEB, merge_patch({"spec": {"image": "nginx:2"}}))


async def test_a_server_that_is_not_there_is_unreachable(here: World) -> None:
    await here.server.stop()

    with pytest.raises(UnreachableError, match=r"Connection refused .is the API server up"):
        await here.client.get(IMAGE_PULL_JOBS, WEB)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, UnauthorizedError), (403, ForbiddenError), (422, RefusedError)]
)
async def test_a_refusal_tells_what_was_asked_and_what_to_do(
    here: World, status: int, kind: type[Exception]
) -> None:
    here.server.fail(Fault(status=status, times=2))

    with pytest.raises(kind, match=r"^get imagepulljobs default/web: \w+: this was injected \(.+\)$"):
        await here.client.get(IMAGE_PULL_JOBS, WEB)


async def test_requests_are_counted_and_say_who_makes_them(here: World) -> None:
    here.server.fail(Fault(status=409, verb="patch"))
    async with ApiClient(Fixed(here.server.url), here.metrics, user_agent="inplaced/1 agent") as client:
        await client.get(IMAGE_PULL_JOBS, WEB)
        with pytest.raises(Exception, match="injected"):
            await client.patch(IMAGE_PULL_JOBS, WEB, merge_patch({}), subresource="status")

    assert count(here.metrics, "get", "imagepulljobs", "200") == 1.0
    assert count(here.metrics, "patch", "imagepulljobs/status", "409") == 1.0
    assert {each.headers["User-Agent"] for each in here.server.requests} == {"inplaced/1 agent"}
    received = {"direction": "received"}
    assert (
        here.metrics.registry.get_sample_value("inplaced_api_transferred_bytes_total", received) or 0
    ) > 100


async def test_a_long_list_comes_in_pages(here: World) -> None:
    for number in range(1200):
        here.put(f"job-{number}")

    listed = await here.client.list(IMAGE_PULL_JOBS)

    assert len({job.metadata.name for job in listed.objects}) == 1201
    assert here.server.count("list") == 3
    assert listed.resource_version == str(here.server.storage.revision)


async def test_objects_that_can_be_large_come_in_shorter_pages(here: World) -> None:
    for number in range(120):
        here.server.store("nodeimages", {"metadata": {"name": f"node-{number}"}, "spec": {}})

    listed = await here.client.list(CLUSTER_NODE_IMAGES)

    assert len(listed.objects) == 120
    assert here.server.count("list") == 3


async def test_pages_that_expired_are_asked_for_in_one(here: World) -> None:
    for number in range(600):
        here.put(f"job-{number}")
    here.server.fail(Fault(status=0, verb="list"))
    here.server.faults.append(Fault(status=410, verb="list"))

    listed = await here.client.list(IMAGE_PULL_JOBS)

    assert len(listed.objects) == 601
    assert [each.code for each in here.server.requests] == [200, 410, 200]


async def test_one_object_that_cannot_be_read_does_not_hide_the_others(here: World) -> None:
    here.server.store(
        "imagepulljobs", {"metadata": {"name": "bad", "namespace": "default"}, "spec": {"image": 5}}
    )

    listed = await here.client.list(IMAGE_PULL_JOBS)

    assert [job.metadata.name for job in listed.objects] == ["web"]
    with pytest.raises(UnreadableError, match=r"\$.spec.image"):
        await here.client.get(IMAGE_PULL_JOBS, type(WEB)("default", "bad"))


async def test_nulls_are_read_as_nothing(here: World) -> None:
    here.put(spec={"pullSecrets": None, "selector": None, "pullPolicy": {"backoffLimit": None}})

    job = await here.client.get(IMAGE_PULL_JOBS, WEB)

    assert (job.spec.pull_secrets, job.spec.pull_policy.backoff_limit) == ((), 3)


async def test_a_refused_secret_is_not_quoted() -> None:
    kinds = [each for each in KINDS if each.plural != "secrets"]
    quoting = Served("", ("v1",), "secrets", "Secret", status=False, validate=lambda _document: "no hunter2")
    secret = Secret(metadata=ObjectMeta(name="a", namespace="default"), string_data={"password": "hunter2"})

    async with world(FakeApiServer([*kinds, quoting])) as here:
        with pytest.raises(RefusedError) as caught:
            await here.client.create(SECRETS, secret)

    assert "hunter2" not in f"{caught.value} {caught.value!r} {caught.value.causes}"


class Pod:
    """The files of a service account, as the kubelet keeps them."""

    def __init__(self, directory: Path, server: FakeApiServer) -> None:
        self.directory = directory
        self._server = server

    def serve(self, name: str) -> None:
        """Give the server a certificate of another authority, and the pod that authority."""
        made = make_certificates(self.directory / name)
        self._server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.tls.load_cert_chain(made.chain, made.key)
        shutil.copy(made.ca, self.directory / "ca.crt")

    def token(self, token: str) -> None:
        """Rotate the token."""
        (self.directory / "token").write_text(f"{token}\n")
        self._server.tokens = {token}

    def access(self, between: float = 0.0) -> InCluster:
        """The access of a process in the pod."""
        environ = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(self._server.port)}
        return InCluster(environ, self.directory, between=between)


async def test_a_rotated_token_is_read_again(tmp_path: Path) -> None:
    server = FakeApiServer()
    pod = Pod(tmp_path, server)
    pod.serve("one")
    pod.token("first")
    async with server, ApiClient(pod.access(), Metrics()) as client:
        await client.create(IMAGE_PULL_JOBS, new_job())

        pod.token("second")
        job = await client.get(IMAGE_PULL_JOBS, WEB)

    assert job.spec.image == "nginx:1"
    assert [each.code for each in server.requests] == [201, 401, 200]


async def test_refusals_do_not_have_the_token_read_each_time(tmp_path: Path) -> None:
    server = FakeApiServer()
    pod = Pod(tmp_path, server)
    pod.serve("one")
    pod.token("first")
    async with server:
        access = pod.access(between=60.0)
        async with ApiClient(access, Metrics()) as client:
            before = await access.credentials()
            pod.token("second")

            with pytest.raises(UnauthorizedError):
                await client.get(IMAGE_PULL_JOBS, WEB)

            assert await access.credentials() is before


async def test_another_authority_is_trusted_once_its_certificate_is_there(tmp_path: Path) -> None:
    server = FakeApiServer()
    pod = Pod(tmp_path, server)
    pod.serve("one")
    pod.token("token")
    async with server, ApiClient(pod.access(), Metrics()) as client:
        await client.create(IMAGE_PULL_JOBS, new_job())
        await server.stop()
        pod.serve("two")
        await server.start()
        with pytest.raises(UnreachableError):
            await client.get(IMAGE_PULL_JOBS, WEB)
        job = await client.get(IMAGE_PULL_JOBS, WEB)

    assert job.spec.image == "nginx:1"


async def test_a_process_outside_of_pods_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(AccessError, match="KUBERNETES_SERVICE_HOST"):
        await InCluster({}, tmp_path).server()
    with pytest.raises(AccessError, match="token"):
        await InCluster({"KUBERNETES_SERVICE_HOST": "127.0.0.1"}, tmp_path).credentials()


@pytest.mark.parametrize(
    ("place", "said"), [("127.0.0.1:{port}", "proxy on the way answers 407"), (":no-port", "is no URL")]
)
async def test_a_proxy_that_lets_nobody_through_is_told_without_its_password(place: str, said: str) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        credentials = Credentials("", proxy=f"http://user:hunter2@{place.format(port=port)}")
        async with ApiClient(Fixed("https://cluster.test", credentials), Metrics()) as client:
            with pytest.raises(UnreachableError, match=said) as caught:
                await client.get(IMAGE_PULL_JOBS, WEB)

    shown = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in shown


async def test_credentials_do_not_show() -> None:
    credentials = Credentials("Bearer hunter2")

    assert "hunter2" not in repr(credentials) + repr(Fixed("http://host", credentials))


async def test_a_service_account_that_cannot_be_read_is_no_answer(tmp_path: Path) -> None:
    access = InCluster({"KUBERNETES_SERVICE_HOST": "127.0.0.1"}, tmp_path)

    async with ApiClient(access, Metrics()) as client, running():
        with pytest.raises(UnreachableError, match="cannot be read"):
            await client.get(IMAGE_PULL_JOBS, WEB)
