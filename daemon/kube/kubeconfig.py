"""Access by a kubeconfig, as kubectl reads it: certificates, tokens, exec plugins, OIDC.

The reading is ``kubernetes.aio``'s. Its import costs 20 MiB and a third of a second, so this module is
imported only where a kubeconfig is used; a process in a pod never does.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.config import ConfigException, load_kube_config

from daemon.kube.access import AccessError, Credentials

_DEADLINE = 60.0
"""Seconds that a plugin may take: it may have to ask its own server."""
_REREAD = 300.0
"""Seconds after which the files are read again."""
_AFTER_REFUSAL = 1.0
"""The same after the server refused what they gave."""
_BEFORE_END = 60.0
"""Seconds before the end of a plugin's credentials at which it is asked for others."""


@dataclass
class _Told:
    """What the library fills in; named as in its own ``Configuration``."""

    api_key: dict[str, str] = field(default_factory=dict)
    host: str = ""
    ssl_ca_cert: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify_ssl: bool = True
    tls_server_name: str | None = None
    proxy: str | None = None

    @property
    def files(self) -> tuple[object, ...]:
        """Changes when anything does that TLS depends on."""
        files = (self.ssl_ca_cert, self.cert_file, self.key_file)
        changed = (Path(each).stat().st_mtime_ns if each else 0 for each in files)
        return (*files, *changed, self.verify_ssl)


class Kubeconfig:
    """The server and user of one context of a kubeconfig: by default the current one.

    Without a *path* it is kubectl's: what ``KUBECONFIG`` names, else ``~/.kube/config``.
    """

    def __init__(self, path: Path | str | None = None, *, context: str | None = None) -> None:
        self._path = None if path is None else str(path)
        self._context = context or None
        self._url = ""
        self._credentials: Credentials | None = None
        self._files: tuple[object, ...] = ()
        self._read_at = 0.0
        self._stale_at = 0.0
        self._loading = asyncio.Lock()

    async def server(self) -> str:
        """The URL of the cluster. Raises AccessError."""
        await self.credentials()
        return self._url

    async def credentials(self) -> Credentials:
        """What the user's entry says, or what its plugin said last. Raises AccessError."""
        async with self._loading:
            if self._credentials is None or time.monotonic() >= self._stale_at:
                self._credentials = await self._load()
            return self._credentials

    def reject(self) -> None:
        """Read the file and ask the plugin before the next request, but not at each of many refusals."""
        self._stale_at = min(self._stale_at, self._read_at + _AFTER_REFUSAL)

    async def _load(self) -> Credentials:
        where = self._path or "the kubeconfig"
        told = _Told()
        try:
            if self._path is not None and not await asyncio.to_thread(Path(self._path).is_file):
                raise AccessError(f"{where} cannot be used: there is no such file")
            async with asyncio.timeout(_DEADLINE):
                loader = await load_kube_config(  # type: ignore[no-untyped-call]  # it has no annotations
                    config_file=self._path,
                    context=self._context,
                    client_configuration=told,
                    persist_config=False,
                )
            authorization = told.api_key.get("BearerToken", "")
            if _has_plugin(loader) and not authorization and not told.cert_file:
                raise AccessError(f"{where}: the exec plugin gave no credentials; the log says why")
            credentials = await asyncio.to_thread(self._of, told, authorization)
        except TimeoutError as error:
            raise AccessError(f"{where}: the plugin gave no answer in {_DEADLINE:g} s") from error
        except (ConfigException, OSError) as error:
            raise AccessError(f"{where} cannot be used: {error}") from error
        except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:
            # Their texts may quote the file, and with it a token.
            raise AccessError(f"{where} is no kubeconfig ({type(error).__name__})") from None
        self._url = told.host.rstrip("/")
        self._read_at = time.monotonic()
        self._stale_at = self._read_at + _lasting(loader)
        return credentials

    def _of(self, told: _Told, authorization: str) -> Credentials:
        tls = self._credentials.tls if self._credentials is not None else None
        files = told.files
        if tls is None or files != self._files:
            tls = _tls(told) if told.host.startswith("https") else None
            self._files = files
        return Credentials(authorization, tls, told.proxy, told.tls_server_name)


def _tls(told: _Told) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=told.ssl_ca_cert)
    if not told.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if told.cert_file:
        context.load_cert_chain(told.cert_file, told.key_file)
    return context


def _has_plugin(loader: Any) -> bool:
    user = getattr(loader, "_user", None)
    return user is not None and "exec" in user


def _lasting(loader: Any) -> float:
    """Seconds for which what was loaded is good; what a plugin gave without an end, until it is refused."""
    if not _has_plugin(loader):
        return _REREAD
    end = getattr(loader, "exec_plugin_expiry", None)
    return float("inf") if end is None else max(end.timestamp() - time.time() - _BEFORE_END, _AFTER_REFUSAL)
