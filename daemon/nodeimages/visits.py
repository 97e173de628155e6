"""One visit to one host of a registry: signs in as the host asks, and follows manifests to their layers."""

import base64
import ssl
from collections.abc import Sequence

import aiohttp
import msgspec
from yarl import URL

from daemon import names
from daemon.cri.extras import Blob
from daemon.cri.manifests import MEDIA_TYPES, Index, Manifest, ManifestError, Platform, digest_of, parse
from daemon.nodeimages.challenges import Challenge, parse_challenges, preferred
from daemon.nodeimages.credentials import Credential
from daemon.nodeimages.exchanges import Reply, Request, exchange
from daemon.nodeimages.hosts import Endpoint
from daemon.nodeimages.platforms import choose
from daemon.nodeimages.registry_errors import (
    GarbageError,
    NotFoundError,
    RegistryError,
    UnauthorisedError,
    UnreachableError,
)
from daemon.objects.references import ImageReference

_NESTING = 3
"""Indexes of indexes are rare, and endless ones are an attack."""


class ImageSize(msgspec.Struct, frozen=True):
    """What an image is made of, on one platform."""

    manifest_digest: str
    """Of the platform's own manifest."""
    config: Blob
    layers: tuple[Blob, ...]


class _Token(msgspec.Struct):
    token: str = ""
    access_token: str = ""


class Visit:
    """Asks one host about one image."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: Endpoint,
        tls: ssl.SSLContext | None,
        ref: ImageReference,
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._tls = tls
        self._ref = ref

    async def measure(self, credentials: Sequence[Credential], platform: Platform) -> ImageSize:
        """Read what the image is made of. Raises RegistryError."""
        reference = self._ref.version
        body, authorization = await self._enter(reference, credentials)
        for _ in range(_NESTING):
            digest = _verified(body, reference)
            document = _document(body)
            if isinstance(document, Manifest):
                return ImageSize(digest, document.config, document.layers)
            reference = choose(document, platform).digest
            body = _checked(await self._get(reference, authorization), self._place)
        raise GarbageError(f"{self._place}: indexes are nested more than {_NESTING} deep")

    async def _enter(self, reference: str, credentials: Sequence[Credential]) -> tuple[bytes, str]:
        """The first answer, and the authorisation that opened it: none is needed, or each is tried."""
        reply = await self._get(reference, "")
        if reply.status != 401:
            return _checked(reply, self._place), ""
        challenge = preferred(parse_challenges(reply.challenges))
        problems: list[RegistryError] = [
            UnauthorisedError(f"{self._place}: HTTP 401, and no credential to try")
        ]
        for credential in (*credentials, None):
            try:
                authorization = await self._authorization(challenge, credential)
                if authorization:
                    return _checked(await self._get(reference, authorization), self._place), authorization
            except (UnauthorisedError, NotFoundError) as error:
                problems.append(error)
        # Who may see the repository is told that the image is missing, all others that they may not see it.
        raise next((one for one in problems if isinstance(one, NotFoundError)), problems[-1])

    @property
    def _place(self) -> str:
        return f"{self._endpoint.url}/{self._ref.repository}"

    async def _get(self, reference: str, authorization: str) -> Reply:
        try:
            url = URL(f"{self._place}/manifests/{reference}", encoded=True)
        except ValueError:
            raise GarbageError(f"{self._place} is no address") from None
        if self._endpoint.mirrored:
            url = url.with_query(ns=self._endpoint.mirrored)
        signed = (("Authorization", authorization),) if authorization else ()
        private = (*self._endpoint.headers, *signed)
        headers = {"Accept": ", ".join(MEDIA_TYPES), "User-Agent": names.PROGRAM}
        return await exchange(self._session, Request(url, headers, private, tls=self._tls))

    async def _authorization(self, challenge: Challenge | None, credential: Credential | None) -> str:
        """What to show the host; empty when there is nothing to show."""
        if credential is not None and credential.registry_token:
            return f"Bearer {credential.registry_token}"
        if challenge is None:
            return ""
        if challenge.scheme == "basic":
            return _basic(credential)
        return f"Bearer {await self._token(challenge, credential)}"

    async def _token(self, challenge: Challenge, credential: Credential | None) -> str:
        """Get a bearer token, as the distribution project's token specification has it."""
        reply = await exchange(self._session, self._token_request(challenge, credential))
        if reply.status in {400, 401, 403}:
            raise UnauthorisedError(f"{self._place}: its token server refuses (HTTP {reply.status})")
        body = _checked(reply, f"token server of {self._place}")
        try:
            answer = msgspec.json.decode(body, type=_Token)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            answer = _Token()
        # Raised out here, as the decoder's error may hold a piece of the answer.
        if not (answer.token or answer.access_token):
            raise GarbageError(f"{self._place}: its token server gives no token")
        return answer.token or answer.access_token

    def _token_request(self, challenge: Challenge, credential: Credential | None) -> Request:
        realm = self._realm(challenge)
        query = {"scope": challenge.parameters.get("scope") or f"repository:{self._ref.repository}:pull"}
        if service := challenge.parameters.get("service"):
            query["service"] = service
        headers = {"User-Agent": names.PROGRAM}
        tls = self._tls if self._trusts(realm) else None
        if credential is not None and credential.identity_token and not credential.password:
            grant = {"grant_type": "refresh_token", "refresh_token": credential.identity_token}
            return Request(realm, headers, form={**grant, **query, "client_id": names.PROGRAM}, tls=tls)
        basic = _basic(credential)
        private = (("Authorization", basic),) if basic else ()
        return Request(realm.update_query(query), headers, private, tls=tls)

    def _realm(self, challenge: Challenge) -> URL:
        try:
            realm = URL(challenge.parameters.get("realm", ""))
        except ValueError:
            realm = URL()
        if realm.scheme not in {"http", "https"} or not realm.host or realm.user:
            raise GarbageError(f"{self._place}: asks for a token from something that is no address")
        if realm.scheme == "http" and self._endpoint.scheme == "https":
            raise GarbageError(
                f"{self._place}: asks for a token over plain HTTP, which would show the credential"
            )
        return realm

    def _trusts(self, realm: URL) -> bool:
        """Tell whether the host's TLS settings hold for its token server: no other host goes unverified."""
        return not self._endpoint.tls.skip_verify or realm.raw_host == URL(self._endpoint.url).raw_host


def _document(body: bytes) -> Manifest | Index:
    try:
        return parse(body)
    except ManifestError as error:
        raise GarbageError(str(error)) from error


def _checked(reply: Reply, place: str) -> bytes:
    if reply.status == 200:
        return reply.body
    told = f"{place}: HTTP {reply.status}"
    if reply.status in {401, 403}:
        raise UnauthorisedError(told)
    if reply.status == 404:
        raise NotFoundError(told)
    if reply.status in {408, 429} or reply.status >= 500:
        raise UnreachableError(told)
    raise GarbageError(told)


def _verified(body: bytes, reference: str) -> str:
    """The digest of *body*, which must be the one that was asked for, if one was."""
    algorithm, colon, _ = reference.partition(":")
    digest = digest_of(body, algorithm if colon else "sha256")
    if colon and digest != reference:
        raise GarbageError(f"what was answered for {reference} has another digest")
    return digest


def _basic(credential: Credential | None) -> str:
    if credential is None or not (credential.username or credential.password):
        return ""
    pair = f"{credential.username}:{credential.password}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
