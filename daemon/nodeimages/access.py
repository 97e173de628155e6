"""Every credential that serves a pull, in the order in which they are tried."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from daemon.nodeimages.credentials import (
    Credential,
    CredentialError,
    DockerConfig,
    Keyring,
    PluginError,
    config_of_secret,
    decode_config,
)
from daemon.nodeimages.plans import Wanted
from daemon.objects.images import Secret, SecretReference
from daemon.objects.references import parse

if TYPE_CHECKING:
    from daemon.nodeimages.plugins import CredentialPlugins

log = structlog.get_logger()
FindSecret = Callable[[SecretReference], Awaitable[Secret | None]]
"""Finds a Secret; it may wait a while for one that is on its way. Raises nothing."""
_REMEMBERED = 1000
"""Warnings that are not said twice."""


class Access:
    """Secrets of the request first, then the node's docker config, then credential provider plugins.

    The anonymous attempt, which always comes last, is the caller's.
    """

    def __init__(
        self, find_secret: FindSecret, *, docker_config: Path | None, plugins: "CredentialPlugins | None"
    ) -> None:
        self._find_secret = find_secret
        self._docker_config = docker_config
        self._plugins = plugins
        self._warned: set[str] = set()

    async def credentials(self, wanted: Wanted) -> Sequence[Credential]:
        """All that match. What cannot be read is logged and left out: another may serve."""
        ref = parse(wanted.ref)
        configs = [*await self._configs(wanted.secrets), *await self._node_config()]
        found = list(Keyring(configs).lookup(ref))
        if self._plugins is not None:
            try:
                found += await self._plugins.lookup(ref)
            except PluginError as error:
                log.warning("credential provider failed", image=wanted.ref, error=str(error))
        return list(dict.fromkeys(found))

    async def _configs(self, references: Iterable[SecretReference]) -> list[DockerConfig]:
        found: list[DockerConfig] = []
        for reference in references:
            secret = await self._find_secret(reference)
            if secret is None:
                log.warning("pull secret not found", secret=f"{reference.namespace}/{reference.name}")
                continue
            try:
                found.append(self._checked(config_of_secret(secret)))
            except CredentialError as error:
                log.warning("pull secret unusable", error=str(error))
        return found

    async def _node_config(self) -> list[DockerConfig]:
        """The node's docker config, read anew each time: the file is small, and tokens in it rotate."""
        path = self._docker_config
        if path is None:
            return []
        try:
            text = await asyncio.to_thread(path.read_bytes)
            return [self._checked(decode_config(text, str(path)))]
        except (OSError, CredentialError) as error:
            log.warning("docker config unusable", error=str(error))
            return []

    def _checked(self, config: DockerConfig) -> DockerConfig:
        """Say once what in *config* is not used: it is read again at each attempt."""
        if len(self._warned) > _REMEMBERED:
            self._warned.clear()
        for warning in config.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                log.warning("credentials not used", problem=warning)
        return config
