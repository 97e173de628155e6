"""Reading an image's size from a real HTTP registry: sign-in, mirrors, redirects, and what never leaks."""

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from daemon.cri.extras import Blob
from daemon.nodeimages.credentials import Credential
from daemon.nodeimages.hosts import HostsConfig
from daemon.nodeimages.registry import (
    GarbageError,
    ImageSize,
    NotFoundError,
    RegistryClient,
    RegistryError,
    UnauthorisedError,
    UnreachableError,
    UnusableProxyError,
)
from daemon.objects.references import ImageReference, parse
from tests.fakes.registry import Asked, FakeRegistry, basic, demanding, serving
from tests.testbed.certificates import make_certificates

SECRET = "hunter2-s3cr3t"  # Appears in no text of ours.
USER = Credential("user", SECRET)
AMD64 = ("linux", "amd64", "")


def descriptor(letter: str, size: int = 1, **more: Any) -> dict[str, Any]:
    return {"digest": f"sha256:{letter * 64}", "size": size, **more}


APP = {
    "schemaVersion": 2,
    "config": descriptor("c", 7),
    "layers": [descriptor("a", 100), descriptor("b", 200)],
}
BLOBS = (Blob("sha256:" + "c" * 64, 7), (Blob("sha256:" + "a" * 64, 100), Blob("sha256:" + "b" * 64, 200)))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    async with serving(FakeRegistry()) as registry:
        registry.put("team/app", "v1", APP)
        yield registry


@pytest.fixture
async def other() -> AsyncIterator[FakeRegistry]:
    async with serving(FakeRegistry()) as other:
        yield other


@pytest.fixture
def client(session: aiohttp.ClientSession, tmp_path: Path) -> RegistryClient:
    return RegistryClient(session, HostsConfig([tmp_path / "certs.d"]))


def configure(root: Path, registry: str, text: str) -> None:
    folder = root / "certs.d" / registry
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(text)


def app_on(registry: FakeRegistry, version: str = ":v1") -> ImageReference:
    return parse(f"{registry.host}/team/app{version}")


async def measure(
    client: RegistryClient, ref: ImageReference, credentials: Sequence[Credential] = (), timeout: float = 10
) -> ImageSize:
    return await client.measure(ref, credentials, platform=AMD64, timeout=timeout)


async def refused(
    kind: type[RegistryError], client: RegistryClient, ref: ImageReference, *credentials: Credential
) -> str:
    """The text of the error, and all of its chain, none of which may hold a secret."""
    with pytest.raises(kind) as caught:
        await measure(client, ref, credentials)
    everything = "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__)
    assert SECRET not in everything
    return str(caught.value)


async def test_a_manifest_tells_config_and_layers(client: RegistryClient, registry: FakeRegistry) -> None:
    digest = registry.put("team/app", "v1", APP)

    size = await measure(client, app_on(registry))

    assert size == ImageSize(digest, *BLOBS)
    [asked] = registry.asked
    assert asked.path == "/v2/team/app/manifests/v1"
    assert "application/vnd.oci.image.index.v1+json" in asked.headers["Accept"]
    assert "v1+prettyjws" not in asked.headers["Accept"]
    assert asked.query == {}
    assert asked.authorization == ""


async def test_an_image_is_found_by_its_digest(client: RegistryClient, registry: FakeRegistry) -> None:
    digest = registry.put("team/app", "v1", APP)

    size = await measure(client, app_on(registry, f":other@{digest}"))

    assert size.manifest_digest == digest
    assert [one.path for one in registry.asked] == [f"/v2/team/app/manifests/{digest}"]


async def test_the_manifest_of_the_platform_is_followed(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    digest = registry.put("team/app", "amd64", APP)
    other = registry.put("team/app", "arm64", {**APP, "layers": []})
    platforms = [("arm64", other), ("amd64", digest)]
    entries = [
        {"digest": one, "size": 1, "platform": {"os": "linux", "architecture": arch}}
        for arch, one in platforms
    ]
    registry.put("team/app", "v2", {"schemaVersion": 2, "manifests": entries})

    assert await measure(client, app_on(registry, ":v2")) == ImageSize(digest, *BLOBS)
    arm = await client.measure(app_on(registry, ":v2"), (), platform=("linux", "arm64", "v8"), timeout=10)
    assert arm.manifest_digest == other


async def test_a_platform_that_is_missing_is_not_found(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    entry = {**descriptor("a"), "platform": {"os": "linux", "architecture": "s390x"}}
    registry.put("team/app", "v2", {"manifests": [entry]})

    assert "linux/s390x" in await refused(NotFoundError, client, app_on(registry, ":v2"))


async def test_indexes_are_not_followed_for_ever(client: RegistryClient, registry: FakeRegistry) -> None:
    below = registry.put("team/app", "v1", APP)
    for _ in range(4):
        below = registry.put("team/app", "deep", {"manifests": [{"digest": below, "size": 1}]})

    assert "nested" in await refused(GarbageError, client, app_on(registry, ":deep"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotFoundError),
        (403, UnauthorisedError),
        (401, UnauthorisedError),
        (400, GarbageError),
        (204, GarbageError),
        (304, GarbageError),
        (408, UnreachableError),
        (429, UnreachableError),
        (500, UnreachableError),
        (503, UnreachableError),
    ],
)
async def test_every_status_has_its_class(
    client: RegistryClient, registry: FakeRegistry, tmp_path: Path, status: int, kind: type[RegistryError]
) -> None:
    configure(tmp_path, "r.test", f'server = "http://{registry.host}"')
    registry.guard = lambda _asked: web.Response(status=status)

    assert f"HTTP {status}" in await refused(kind, client, parse("r.test/team/app:v1"), USER)


@pytest.mark.parametrize(
    "body", [b"", b"<html>login</html>", b"{}", b'{"schemaVersion": 1}', b"\xff" * 10, b"[" * 50_000]
)
async def test_garbage_is_refused(client: RegistryClient, registry: FakeRegistry, body: bytes) -> None:
    registry.manifests["team/app:v1"] = body

    assert await refused(GarbageError, client, app_on(registry))


async def test_another_content_than_the_digest_is_refused(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    wrong = "sha256:" + "0" * 64
    registry.manifests[f"team/app@{wrong}"] = b"{}"

    assert "another digest" in await refused(GarbageError, client, app_on(registry, f"@{wrong}"))


async def test_a_huge_manifest_is_cut(client: RegistryClient, registry: FakeRegistry) -> None:
    registry.manifests["team/app:v1"] = b" " * (4 * 2**20 + 1)

    assert "more than 4194304 bytes" in await refused(GarbageError, client, app_on(registry))


async def test_an_endless_answer_is_cut(client: RegistryClient, registry: FakeRegistry) -> None:
    class Endless(web.StreamResponse):
        async def prepare(self, request: web.BaseRequest) -> Any:
            writer = await super().prepare(request)
            with_data = b"x" * 65536
            while request.transport is not None and not request.transport.is_closing():
                await self.write(with_data)
            return writer

    registry.answers["/v2/team/app/manifests/v1"] = lambda _asked: Endless()

    assert "more than" in await refused(GarbageError, client, app_on(registry))


async def test_a_registry_that_stalls_is_unreachable_in_time(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    stalled = asyncio.Event()

    async def stall(_asked: Asked) -> web.StreamResponse:
        await stalled.wait()
        return web.Response()

    registry.answers["/v2/team/app/manifests/v1"] = stall

    with pytest.raises(UnreachableError, match=r"did not answer within 0\.2 s"):
        await measure(client, app_on(registry), timeout=0.2)
    stalled.set()


async def test_a_closed_port_is_unreachable(client: RegistryClient, registry: FakeRegistry) -> None:
    async with serving(FakeRegistry()) as gone:
        ref = app_on(gone)

    assert "refused" in (await refused(UnreachableError, client, ref)).lower()


async def test_something_that_speaks_no_http_is_garbage_or_unreachable(
    client: RegistryClient, tmp_path: Path
) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        configure(tmp_path, "r.test", f'server = "http://127.0.0.1:{port}"')

        assert await refused(GarbageError, client, parse("r.test/a"))


# Signing in


async def test_a_password_is_shown_only_when_asked_for(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.guard = demanding('Basic realm="r"', [basic("user", SECRET)])

    size = await measure(client, app_on(registry), [USER])

    assert size.layers == BLOBS[1]
    assert [one.authorization for one in registry.asked] == ["", basic("user", SECRET)]


async def test_credentials_are_not_shown_to_who_does_not_ask(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    await measure(client, app_on(registry), [USER])

    assert [one.authorization for one in registry.asked] == [""]


async def test_credentials_are_tried_in_order(client: RegistryClient, registry: FakeRegistry) -> None:
    registry.guard = demanding('Basic realm="r"', [basic("right", "ü:p")])
    tried = [
        Credential("old", "1"),
        Credential(identity_token="t"),
        Credential("right", "ü:p"),
        Credential("new", "3"),
    ]

    await measure(client, app_on(registry), tried)

    assert [one.authorization for one in registry.asked] == ["", basic("old", "1"), basic("right", "ü:p")]


async def test_no_accepted_credential_is_unauthorised(client: RegistryClient, registry: FakeRegistry) -> None:
    registry.guard = demanding('Basic realm="r"', [])

    assert "HTTP 401" in await refused(UnauthorisedError, client, app_on(registry), USER)
    assert "no credential" in await refused(UnauthorisedError, client, app_on(registry))


async def test_who_may_look_learns_that_the_image_is_missing(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.guard = demanding('Basic realm="r"', [basic("user", SECRET)])
    wrong = Credential("wrong", SECRET)

    assert await refused(NotFoundError, client, app_on(registry, ":gone"), USER, wrong)


def with_tokens(registry: FakeRegistry, server: FakeRegistry, accept: Callable[[Asked], str | None]) -> None:
    """Have *registry* demand tokens of *server*, which gives what *accept* says."""
    realm = f"http://{server.host}/token?account=x"
    challenge = f'Bearer realm="{realm}",service="r.test",scope="repository:team/app:pull"'

    def give(asked: Asked) -> web.StreamResponse:
        token = accept(asked)
        return web.json_response({"token": token} if token else {}, status=200 if token else 401)

    server.answers["/token"] = give
    registry.guard = demanding(challenge, ["Bearer good"])


async def test_a_token_is_got_with_a_password(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry
) -> None:
    with_tokens(
        registry, other, lambda asked: "good" if asked.authorization == basic("user", SECRET) else "weak"
    )

    await measure(client, app_on(registry), [USER])

    [asked] = other.asked
    scope = {"account": "x", "service": "r.test", "scope": "repository:team/app:pull"}
    assert (asked.method, asked.query) == ("GET", scope)
    assert [one.authorization for one in registry.asked] == ["", "Bearer good"]


async def test_a_token_is_got_without_a_credential_in_the_end(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry
) -> None:
    with_tokens(registry, other, lambda asked: None if asked.authorization else "good")

    await measure(client, app_on(registry), [USER])

    assert [one.authorization for one in other.asked] == [basic("user", SECRET), ""]


async def test_an_identity_token_is_exchanged_in_a_post(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry
) -> None:
    with_tokens(registry, other, lambda asked: "good" if asked.form.get("refresh_token") == SECRET else None)

    await measure(client, app_on(registry), [Credential(identity_token=SECRET)])

    [asked] = other.asked
    assert (asked.method, asked.authorization) == ("POST", "")
    assert SECRET not in str(asked.query)
    assert asked.form == {
        "grant_type": "refresh_token",
        "refresh_token": SECRET,
        "service": "r.test",
        "scope": "repository:team/app:pull",
        "client_id": "inplaced",
    }


async def test_a_registry_token_is_shown_as_it_is(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry
) -> None:
    with_tokens(registry, other, lambda _asked: None)

    await measure(client, app_on(registry), [Credential(registry_token="good")])

    assert other.asked == []


async def test_one_token_serves_all_manifests(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry
) -> None:
    with_tokens(registry, other, lambda _asked: "good")
    entry = {"digest": registry.put("team/app", "v1", APP), "size": 1}
    registry.put("team/app", "v2", {"manifests": [entry]})

    await measure(client, app_on(registry, ":v2"))

    assert len(other.asked) == 1
    assert [one.authorization for one in registry.asked] == ["", "Bearer good", "Bearer good"]


async def test_without_a_scope_the_repository_is_asked_for(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry
) -> None:
    with_tokens(registry, other, lambda _asked: "good")
    registry.guard = demanding(f'Bearer realm="http://{other.host}/token"', ["Bearer good"])

    await measure(client, app_on(registry))

    assert [one.query for one in other.asked] == [{"scope": "repository:team/app:pull"}]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, f'{{"secret": "{SECRET}"}}', GarbageError),
        (200, f'{{"token": ["{SECRET}"]}}', GarbageError),
        (200, "<html>", GarbageError),
        (200, '{"token": "bad\\r\\nX-Injected: 1"}', GarbageError),
        (400, "{}", UnauthorisedError),
        (401, "{}", UnauthorisedError),
        (404, "{}", NotFoundError),
        (503, "{}", UnreachableError),
        (302, "", GarbageError),
    ],
)
async def test_a_token_server_that_fails_has_its_class(
    client: RegistryClient,
    registry: FakeRegistry,
    other: FakeRegistry,
    tmp_path: Path,
    status: int,
    body: str,
    kind: type[RegistryError],
) -> None:
    with_tokens(registry, other, lambda _asked: None)
    other.answers["/token"] = lambda _asked: web.Response(status=status, text=body)
    configure(tmp_path, "r.test", f'server = "http://{registry.host}"')

    assert await refused(kind, client, parse("r.test/team/app:v1"), USER)


@pytest.mark.parametrize(
    "challenge",
    [
        "Bearer",
        'Bearer realm=""',
        'Bearer realm="file:///etc/passwd"',
        'Bearer realm="//host/token"',
        'Bearer realm="http://a:b@127.0.0.1/token"',
        'Bearer realm="http://[::1/token"',
    ],
)
async def test_a_token_server_that_is_no_address_is_refused(
    client: RegistryClient, registry: FakeRegistry, tmp_path: Path, challenge: str
) -> None:
    registry.guard = demanding(challenge, [])
    configure(tmp_path, "r.test", f'server = "http://{registry.host}"')

    assert "no address" in await refused(GarbageError, client, parse("r.test/team/app:v1"), USER)


async def test_a_challenge_of_unknown_kind_is_unauthorised(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.guard = demanding("Negotiate", [])

    assert await refused(UnauthorisedError, client, app_on(registry), USER)


# Redirects


def redirect(to: str) -> Callable[[Asked], web.StreamResponse]:
    return lambda _asked: web.Response(status=307, headers={"Location": to})


async def test_a_redirect_to_another_host_is_followed_without_the_credential(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry
) -> None:
    other.put("team/app", "v1", APP)
    registry.answers["/v2/team/app/manifests/v1"] = lambda asked: (
        redirect(f"http://{other.host}/v2/team/app/manifests/v1?signed=1")(asked)
        if asked.authorization
        else web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="r"'})
    )

    await measure(client, app_on(registry), [USER])

    [asked] = other.asked
    assert asked.query == {"signed": "1"}
    assert asked.authorization == ""
    assert "Accept" in asked.headers


async def test_a_redirect_within_the_host_keeps_the_credential(
    client: RegistryClient, registry: FakeRegistry
) -> None:
    registry.guard = demanding('Basic realm="r"', [basic("user", SECRET)])
    registry.answers["/v2/team/app/manifests/v2"] = redirect("v1")

    await measure(client, app_on(registry, ":v2"), [USER])

    assert registry.asked[-1].path == "/v2/team/app/manifests/v1"
    assert registry.asked[-1].authorization == basic("user", SECRET)


async def test_redirects_end(client: RegistryClient, registry: FakeRegistry) -> None:
    registry.answers["/v2/team/app/manifests/v1"] = redirect("v1")

    assert "redirects" in await refused(GarbageError, client, app_on(registry))
    assert len(registry.asked) == 6


@pytest.mark.parametrize("to", ["ftp://host/", "http://[::1", "http://u:p@host/", "javascript:1"])
async def test_a_redirect_to_no_address_is_refused(
    client: RegistryClient, registry: FakeRegistry, to: str
) -> None:
    registry.answers["/v2/team/app/manifests/v1"] = redirect(to)

    assert "no address" in await refused(GarbageError, client, app_on(registry))


async def test_a_token_request_with_a_secret_in_it_follows_no_redirect(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry
) -> None:
    with_tokens(registry, other, lambda _asked: "good")
    other.answers["/token"] = redirect(f"http://{registry.host}/token")

    await refused(GarbageError, client, app_on(registry), Credential(identity_token=SECRET))

    assert not any(one.path == "/token" for one in registry.asked)


# Mirrors and TLS


async def test_mirrors_come_first_and_are_told_whom_they_mirror(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry, tmp_path: Path
) -> None:
    other.put("team/app", "v1", APP)
    text = f'server = "http://{registry.host}"\n[host."http://{other.host}".header]\nX-Mirror = "yes"'
    configure(tmp_path, "r.test", text)

    await measure(client, parse("r.test/team/app:v1"))

    assert registry.asked == []
    [asked] = other.asked
    assert asked.query == {"ns": "r.test"}
    assert asked.headers["X-Mirror"] == "yes"


async def test_headers_of_a_host_go_nowhere_else(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry, tmp_path: Path
) -> None:
    other.put("team/app", "v1", APP)
    registry.answers["/v2/team/app/manifests/v1"] = redirect(f"http://{other.host}/v2/team/app/manifests/v1")
    configure(tmp_path, "r.test", f'server = "http://{registry.host}"\n[header]\nX-Key = "{SECRET}"')

    await measure(client, parse("r.test/team/app:v1"))

    assert registry.asked[0].headers["X-Key"] == SECRET
    assert "X-Key" not in other.asked[0].headers


async def test_a_mirror_that_lacks_the_image_is_passed_over(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry, tmp_path: Path
) -> None:
    configure(tmp_path, "r.test", f'server = "http://{registry.host}"\n[host."http://{other.host}"]')

    size = await measure(client, parse("r.test/team/app:v1"))

    assert size.layers == BLOBS[1]
    assert len(other.asked) == 1


async def test_a_host_is_asked_only_for_what_it_can(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry, tmp_path: Path
) -> None:
    digest = registry.put("team/app", "v1", APP)
    other.put("team/app", "v1", APP)
    text = f'server = "http://{registry.host}"\n[host."http://{other.host}"]\ncapabilities = ["pull"]'
    configure(tmp_path, "r.test", text)

    await measure(client, parse("r.test/team/app:v1"))
    by_tag = len(other.asked)
    await measure(client, parse(f"r.test/team/app@{digest}"))

    assert (by_tag, len(other.asked)) == (0, 1)


async def test_a_registry_without_a_host_is_unreachable(client: RegistryClient, tmp_path: Path) -> None:
    configure(tmp_path, "r.test", 'server = "http://h"\ncapabilities = ["push"]')

    assert "no host" in await refused(UnreachableError, client, parse("r.test/a"))


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[FakeRegistry]:
    certificates = make_certificates(tmp_path / "tls")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.chain, certificates.key)
    async with serving(FakeRegistry(), context) as registry:
        registry.put("team/app", "v1", APP)
        yield registry


async def test_an_unknown_certificate_is_refused(
    client: RegistryClient, secure: FakeRegistry, tmp_path: Path
) -> None:
    configure(tmp_path, "r.test", f'server = "https://{secure.host}"')

    assert "certificate" in await refused(UnreachableError, client, parse("r.test/team/app:v1"), USER)
    assert secure.asked == []


async def test_the_authority_of_the_node_is_trusted(
    client: RegistryClient, secure: FakeRegistry, tmp_path: Path
) -> None:
    configure(tmp_path, "r.test", f'server = "https://{secure.host}"\nca = "{tmp_path}/tls/ca.pem"')

    assert (await measure(client, parse("r.test/team/app:v1"))).layers == BLOBS[1]


async def test_verification_may_be_switched_off(
    client: RegistryClient, secure: FakeRegistry, tmp_path: Path
) -> None:
    configure(tmp_path, "r.test", f'server = "https://{secure.host}"\nskip_verify = true')

    assert (await measure(client, parse("r.test/team/app:v1"))).layers == BLOBS[1]


async def test_a_registry_on_this_machine_may_speak_https_unverified(
    client: RegistryClient, secure: FakeRegistry
) -> None:
    assert (await measure(client, app_on(secure))).layers == BLOBS[1]


async def test_a_missing_authority_is_told(
    client: RegistryClient, secure: FakeRegistry, tmp_path: Path
) -> None:
    configure(tmp_path, "r.test", f'server = "https://{secure.host}"\nca = "gone.pem"')

    assert "gone.pem" in await refused(UnreachableError, client, parse("r.test/team/app:v1"))


async def test_no_token_is_asked_for_over_a_downgraded_scheme(
    client: RegistryClient, secure: FakeRegistry, other: FakeRegistry, tmp_path: Path
) -> None:
    with_tokens(secure, other, lambda _asked: "good")
    configure(tmp_path, "r.test", f'server = "https://{secure.host}"\nskip_verify = true')

    assert "plain HTTP" in await refused(GarbageError, client, parse("r.test/team/app:v1"), USER)
    assert other.asked == []


async def test_no_redirect_is_followed_to_a_downgraded_scheme(
    client: RegistryClient, secure: FakeRegistry, other: FakeRegistry, tmp_path: Path
) -> None:
    secure.answers["/v2/team/app/manifests/v1"] = redirect(
        f"http://{other.host}/v2/team/app/manifests/v1?sig={SECRET}"
    )
    configure(tmp_path, "r.test", f'server = "https://{secure.host}"\nskip_verify = true')

    assert "to plain HTTP" in await refused(GarbageError, client, parse("r.test/team/app:v1"))
    assert other.asked == []


async def test_what_is_not_verified_vouches_for_no_other_host(
    client: RegistryClient, registry: FakeRegistry, secure: FakeRegistry, tmp_path: Path
) -> None:
    """The token server is on another name: its certificate is verified although the registry's is not."""
    challenge = f'Bearer realm="https://localhost:{secure.port}/token"'
    secure.guard = demanding(challenge, [])
    configure(tmp_path, "r.test", f'server = "https://{secure.host}"\nskip_verify = true')

    assert "certificate" in await refused(UnreachableError, client, parse("r.test/team/app:v1"), USER)
    assert not any(one.path == "/token" for one in secure.asked)


async def test_a_configured_host_that_is_no_address_is_refused(
    client: RegistryClient, tmp_path: Path
) -> None:
    configure(tmp_path, "r.test", "server = 'http://h\\x'")

    assert "no address" in await refused(GarbageError, client, parse("r.test/a"))


async def test_of_two_answers_the_one_of_the_registry_itself_counts(
    client: RegistryClient, registry: FakeRegistry, other: FakeRegistry, tmp_path: Path
) -> None:
    other.guard = demanding('Basic realm="mirror"', [])
    configure(tmp_path, "r.test", f'server = "http://{registry.host}"\n[host."http://{other.host}"]')

    assert registry.host in await refused(NotFoundError, client, parse("r.test/team/app:gone"), USER)


async def test_images_of_one_registry_share_its_connection(
    client: RegistryClient, secure: FakeRegistry, tmp_path: Path
) -> None:
    configure(tmp_path, "r.test", f'server = "https://{secure.host}"\nca = "{tmp_path}/tls/ca.pem"')

    for _ in range(3):
        await measure(client, parse("r.test/team/app:v1"))

    assert len(secure.asked) == 3
    assert len({asked.connection for asked in secure.asked}) == 1


async def test_a_proxy_of_the_environment_is_used_with_its_credentials(
    client: RegistryClient, registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, "r.test", 'server = "http://r.test"')
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{SECRET}@{registry.host}")

    found = await measure(client, parse("r.test/team/app:v1"))

    assert found.layers == BLOBS[1]
    assert registry.asked[0].headers["Host"] == "r.test"
    assert registry.asked[0].headers["Proxy-Authorization"] == basic("user", SECRET)


async def test_a_proxy_that_lets_nobody_through_is_told_without_its_password(
    client: RegistryClient, registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, "r.test", 'server = "https://r.test"')
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@{registry.host}")

    with pytest.raises(UnreachableError, match="the proxy on the way answers") as caught:
        await measure(client, parse("r.test/team/app:v1"))

    assert SECRET not in "".join(traceback.format_exception(caught.value))


async def test_a_proxy_of_another_kind_is_not_gone_around(
    client: RegistryClient, registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(tmp_path, "r.test", f'server = "http://{registry.host.replace("127.0.0.1", "r.test")}"')
    monkeypatch.setenv("HTTP_PROXY", f"socks5://user:{SECRET}@proxy.test:1080")

    with pytest.raises(UnusableProxyError, match=r"HTTP_PROXY is socks5://proxy\.test; allowed") as caught:
        await measure(client, parse("r.test/team/app:v1"))

    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert registry.asked == []


async def test_passwords_of_the_users_own_tools_are_not_shown_to_registries(
    client: RegistryClient, registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login user password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))

    await measure(client, app_on(registry))

    assert [asked.authorization for asked in registry.asked] == [""]
