"""Who may pull from a faulty registry: everybody, holders of a password, or holders of a bearer token.

The token endpoint speaks both forms that clients use: GET with basic auth, and POST with OAuth 2's grants
(distribution's token and oauth2 specifications).
"""

import base64
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from tests.testbed.faults import error_body

TOKEN_PATH = "/token"
SERVICE = "testbed"


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request may not pass: the challenge for ``WWW-Authenticate``."""

    challenge: str


class Access(Protocol):
    """Decides about one request."""

    def admit(self, request: web.Request) -> str | Refused:
        """The name of who asks, or why not."""
        ...


@dataclass(frozen=True, slots=True)
class Open:
    """Everybody may."""

    def admit(self, request: web.Request) -> str | Refused:
        """Let it pass."""
        return ""


@dataclass(frozen=True, slots=True)
class Basic:
    """Whoever sends a name and its password."""

    passwords: Mapping[str, str] = field(repr=False)

    def admit(self, request: web.Request) -> str | Refused:
        """Check the Authorization header."""
        return _known(self.passwords, request) or Refused(f'Basic realm="{SERVICE}"')


@dataclass(slots=True)
class Bearer:
    """Whoever sends a token that the token endpoint gave, or one of the registry tokens."""

    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    identity_tokens: Collection[str] = field(default=(), repr=False)
    """Exchanged for an access token by the grant type refresh_token."""
    registry_tokens: Collection[str] = field(default=(), repr=False)
    """Sent as they are."""
    anonymous: bool = False
    """Whether the endpoint gives tokens to everybody, as the big public registries do."""
    grants: list[str] = field(default_factory=list)
    """The grant types that were asked for, in order."""
    _issued: dict[str, str] = field(default_factory=dict, repr=False)

    def admit(self, request: web.Request) -> str | Refused:
        """Check the Authorization header."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme == "Bearer" and token in self.registry_tokens:
            return "registry-token"
        if scheme == "Bearer" and token in self._issued:
            return self._issued[token]
        realm = f"{request.scheme}://{request.host}{TOKEN_PATH}"
        repository = request.path.removeprefix("/v2/").partition("/manifests/")[0].partition("/blobs/")[0]
        return Refused(f'Bearer realm="{realm}",service="{SERVICE}",scope="repository:{repository}:pull"')

    async def token(self, request: web.Request) -> web.Response:
        """Answer the token endpoint."""
        if request.method == "GET":
            self.grants.append("basic")
            user = _known(self.passwords, request)
            return self._answer(user or ("anonymous" if self._unasked(request) else None))
        form = await request.post()
        grant = str(form.get("grant_type"))
        self.grants.append(grant)
        return self._answer(self._granted(grant, {key: str(value) for key, value in form.items()}))

    def _unasked(self, request: web.Request) -> bool:
        return self.anonymous and "Authorization" not in request.headers

    def _granted(self, grant: str, form: Mapping[str, str]) -> str | None:
        if grant == "refresh_token" and form.get("refresh_token") in self.identity_tokens:
            return "identity-token"
        user = form.get("username", "")
        if grant == "password" and user and self.passwords.get(user) == form.get("password"):
            return user
        return None

    def _answer(self, user: str | None) -> web.Response:
        if user is None:
            body = error_body(401, "authentication required")
            return web.Response(status=401, body=body, content_type="application/json")
        token = secrets.token_urlsafe(16)
        self._issued[token] = user
        return web.json_response({"token": token, "access_token": token, "expires_in": 300})


def _known(passwords: Mapping[str, str], request: web.Request) -> str | None:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Basic":
        return None
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except ValueError:
        return None
    return user if user in passwords and passwords[user] == password else None
