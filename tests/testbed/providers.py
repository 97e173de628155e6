"""A kubelet credential provider of the test bed: a real executable and the configuration that names it."""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

_API: Final = "credentialprovider.kubelet.k8s.io/v1"


@dataclass(frozen=True, slots=True)
class Provider:
    """One plugin that gives the same answer to everybody, and keeps what it was asked."""

    directory: Path
    host: str
    """The registry that it is for."""

    @property
    def config(self) -> Path:
        """The kubelet's CredentialProviderConfig."""
        return self.directory / "config.yaml"

    @property
    def plugins(self) -> Path:
        """Where the executable lies."""
        return self.directory / "plugins"

    def install(self) -> None:
        """Write the configuration and the executable, which answers nothing yet."""
        self.plugins.mkdir()
        entry = {
            "name": "testbed-provider",
            "apiVersion": _API,
            "matchImages": [self.host],
            "defaultCacheDuration": "0s",
            "env": [{"name": "LOG", "value": str(self.directory / "asked")}],
        }
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1",
            "kind": "CredentialProviderConfig",
            "providers": [entry],
        }
        self.config.write_text(yaml.safe_dump(config))
        program = self.plugins / "testbed-provider"
        answer = shlex.quote(str(self.directory / "answer"))
        program.write_text(f'#!/bin/sh\ncat >> "$LOG"\necho >> "$LOG"\ncat {answer}\n')
        program.chmod(0o700)

    def give(self, username: str, password: str, cache_duration: str) -> None:
        """Answer that from now on."""
        answer = {
            "apiVersion": _API,
            "kind": "CredentialProviderResponse",
            "cacheKeyType": "Registry",
            "cacheDuration": cache_duration,
            "auth": {self.host: {"username": username, "password": password}},
        }
        (self.directory / "answer").write_text(json.dumps(answer))

    def asked(self) -> list[str]:
        """The images that it was asked about, in order."""
        path = self.directory / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["image"] for line in lines]
