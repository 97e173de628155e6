"""Asks the kubelet's credential provider plugins, and keeps their answers as long as they allow.

The protocol is credentialprovider.kubelet.k8s.io: a request on stdin, a response on stdout. Neither log nor
error holds a piece of a response.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from daemon.engine.clock import Clock
from daemon.logs import redact
from daemon.nodeimages.credentials import Credential, DockerConfig, Keyring, PluginError, pattern_of
from daemon.nodeimages.processes import Command, Finished, run
from daemon.nodeimages.provider_config import Provider, duration_seconds, read_providers
from daemon.objects.references import ImageReference

__all__ = ["CredentialPlugins", "load_plugins"]

log = structlog.get_logger()

KUBELET_TIMEOUT = 60.0
"""Seconds for one run of a plugin."""
_SHOWN_COMPLAINT = 500
_CACHE_KEYS = ("Image", "Registry", "Global")


class _Login(msgspec.Struct):
    username: str = ""
    password: str = ""


class _Response(msgspec.Struct, rename="camel"):
    api_version: str = ""
    kind: str = ""
    cache_key_type: str = ""
    cache_duration: str | None = None
    auth: Mapping[str, _Login] | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    config: DockerConfig
    cache_key: tuple[str, str]
    cache_seconds: float


@dataclass(frozen=True, slots=True)
class _Cached:
    config: DockerConfig
    expires_at: float


class CredentialPlugins:
    """The credential providers of this node."""

    def __init__(
        self,
        providers: Sequence[Provider],
        environ: Mapping[str, str],
        clock: Clock,
        *,
        timeout: float = KUBELET_TIMEOUT,
    ) -> None:
        self._plugins = [_Plugin(provider, environ, clock, timeout) for provider in providers]

    async def lookup(self, ref: ImageReference) -> tuple[Credential, ...]:
        """Every credential that the plugins have for *ref*, the most specific first.

        A plugin that fails is logged and left out. Raises PluginError if so, and none had a credential.
        """
        configs: list[DockerConfig] = []
        failures: list[PluginError] = []
        for plugin in self._plugins:
            if not plugin.provider.serves(ref):
                continue
            try:
                configs.append(await plugin.provide(ref))
            except PluginError as error:
                failures.append(error)
        found = Keyring(configs).lookup(ref)
        if failures and not found:
            raise failures[0]
        for failure in failures:
            log.warning("credential provider failed", image=ref.name, error=str(failure))
        return found


def load_plugins(config: Path, bin_dir: Path, environ: Mapping[str, str], clock: Clock) -> CredentialPlugins:
    """Read the kubelet's *config*. Blocks; for the start of a process. Raises PluginError."""
    return CredentialPlugins(read_providers(config, bin_dir), environ, clock)


class _Plugin:
    """One plugin, its cache, and its runs."""

    def __init__(self, provider: Provider, environ: Mapping[str, str], clock: Clock, timeout: float) -> None:
        self.provider = provider
        self._environ = environ
        self._clock = clock
        self._timeout = timeout
        self._cache: dict[tuple[str, str], _Cached] = {}
        self._running: dict[str, asyncio.Future[DockerConfig]] = {}

    async def provide(self, ref: ImageReference) -> DockerConfig:
        """The plugin's answer: kept, awaited together with others who ask the same, or fetched."""
        while (cached := self._cached(ref)) is None:
            running = self._running.get(ref.name)
            if running is None:
                return await self._fetch(ref)
            await asyncio.wait([running])
            if not running.cancelled():
                return running.result()
            # Who ran it was cancelled, which is no reason for us to go without.
        return cached

    def _cached(self, ref: ImageReference) -> DockerConfig | None:
        now = self._clock.monotonic()
        for key in _keys(ref):
            cached = self._cache.get(key)
            if cached is not None and now < cached.expires_at:
                return cached.config
        return None

    async def _fetch(self, ref: ImageReference) -> DockerConfig:
        running = self._running[ref.name] = asyncio.get_running_loop().create_future()
        try:
            answer = await self._ask(ref)
            self._keep(answer)
            running.set_result(answer.config)
        except PluginError as error:
            running.set_exception(error)
            running.exception()  # Perhaps nobody else waits, which is fine.
            raise
        finally:
            running.cancel()  # Does nothing to one that is done.
            del self._running[ref.name]
        return answer.config

    def _keep(self, answer: _Answer) -> None:
        now = self._clock.monotonic()
        self._cache = {key: cached for key, cached in self._cache.items() if now < cached.expires_at}
        if answer.cache_seconds > 0:
            self._cache[answer.cache_key] = _Cached(answer.config, now + answer.cache_seconds)

    async def _ask(self, ref: ImageReference) -> _Answer:
        provider = self.provider
        request = {"apiVersion": provider.api_version, "kind": "CredentialProviderRequest", "image": ref.name}
        # What the configuration says wins over the environment of this process, as in the kubelet.
        command = Command(str(provider.path), provider.args, {**self._environ, **dict(provider.env)})
        try:
            finished = await run(command, msgspec.json.encode(request), timeout=self._timeout)
        except TimeoutError:
            raise self._error(ref, f"it did not answer within {self._timeout:g} s") from None
        except OSError as error:
            raise self._error(ref, f"it does not start ({error.strerror})") from error
        return self._answer(ref, finished)

    def _answer(self, ref: ImageReference, finished: Finished) -> _Answer:
        if finished.output is None:
            raise self._error(ref, "it answers more than 1 MiB")
        if finished.code != 0:
            raise self._error(ref, f"exit code {finished.code}: {_complaint(finished)}")
        response = _response(finished.output)
        if (
            response is None
            or response.kind != "CredentialProviderResponse"
            or response.api_version != self.provider.api_version
            or response.cache_key_type not in _CACHE_KEYS
        ):
            wanted = f"a CredentialProviderResponse of {self.provider.api_version}"
            raise self._error(
                ref, f"it does not answer {wanted} with a cacheKeyType of {', '.join(_CACHE_KEYS)}"
            )
        keys = dict(zip(_CACHE_KEYS, _keys(ref), strict=True))
        config = _config(response.auth or {}, f"credential provider {self.provider.name}")
        return _Answer(config, keys[response.cache_key_type], self._cache_seconds(ref, response))

    def _cache_seconds(self, ref: ImageReference, response: _Response) -> float:
        if response.cache_duration is None:
            return self.provider.cache_seconds
        seconds = duration_seconds(response.cache_duration)
        if seconds is None:
            raise self._error(ref, "its cacheDuration must be a duration such as 5m0s")
        return seconds

    def _error(self, ref: ImageReference, problem: str) -> PluginError:
        return PluginError(f"credential provider {self.provider.name} for {ref.name}: {problem}")


def _keys(ref: ImageReference) -> Iterable[tuple[str, str]]:
    return (("Image", ref.name), ("Registry", ref.registry), ("Global", ""))


def _response(output: bytes) -> _Response | None:
    try:
        return msgspec.json.decode(output, type=_Response)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _config(auth: Mapping[str, _Login], source: str) -> DockerConfig:
    entries = [
        (pattern, Credential(login.username, login.password, server_address=pattern.key, source=source))
        for key, login in auth.items()
        if (pattern := pattern_of(key)) is not None and (login.username or login.password)
    ]
    return DockerConfig(tuple(entries))


def _complaint(finished: Finished) -> str:
    """What the plugin says of its failure: cut, in one line, and without what looks like a credential."""
    text = " ".join(finished.complaint.decode(errors="replace").split())
    shown = "".join(letter for letter in str(redact(text)) if letter.isprintable())
    return shown[:_SHOWN_COMPLAINT] or "it says nothing on stderr"
