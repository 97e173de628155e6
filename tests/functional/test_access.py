"""All credentials of a pull, from secrets, the node's docker config and plugins, in their order."""

import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from daemon.engine.clock import SystemClock
from daemon.nodeimages.access import Access
from daemon.nodeimages.plans import Wanted
from daemon.nodeimages.plugins import CredentialPlugins, load_plugins
from daemon.objects.images import Secret, SecretReference
from daemon.objects.meta import ObjectMeta

IMAGE = "r.io/team/app:v1"
V1 = "credentialprovider.kubelet.k8s.io/v1"


def docker_config(accounts: Mapping[str, str], **more: object) -> str:
    """A config.json with an account a key; its password is the account's name."""
    auths = {key: {"username": name, "password": name} for key, name in accounts.items()}
    return json.dumps({"auths": auths, **more})


def secret(name: str, text: str, kind: str = "kubernetes.io/dockerconfigjson") -> Secret:
    metadata = ObjectMeta(name=name, namespace="default")
    return Secret(metadata=metadata, type=kind, string_data={".dockerconfigjson": text})


def wanted(*secrets: str) -> Wanted:
    return Wanted(
        ref=IMAGE,
        name="r.io/team/app",
        tag="v1",
        version=1,
        created_at=datetime(2026, 5, 4, tzinfo=UTC),
        secrets=tuple(SecretReference(namespace="default", name=name) for name in secrets),
    )


def access(
    *secrets: Secret, docker_config: Path | None = None, plugins: CredentialPlugins | None = None
) -> Access:
    by_name = {each.metadata.name: each for each in secrets}

    async def find(reference: SecretReference) -> Secret | None:
        return by_name.get(reference.name)

    return Access(find, docker_config=docker_config, plugins=plugins)


def plugins(directory: Path, script: str) -> CredentialPlugins:
    """One plugin that runs *script*."""
    program = directory / "bin" / "plugin"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{script}")
    program.chmod(0o755)
    entry = {"name": "plugin", "matchImages": ["*.io"], "defaultCacheDuration": "0s", "apiVersion": V1}
    config = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
    (directory / "config.yaml").write_text(json.dumps({**config, "providers": [entry]}))
    return load_plugins(directory / "config.yaml", program.parent, {}, SystemClock())


async def names(found: Access, *secrets: str) -> list[str]:
    return [credential.username for credential in await found.credentials(wanted(*secrets))]


async def test_the_closest_key_comes_first_and_plugins_come_last(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(docker_config({"r.io/team/app": "node"}))
    auth = {"r.io/team/app": {"username": "plugin", "password": "x"}}
    answer = {"apiVersion": V1, "kind": "CredentialProviderResponse", "cacheKeyType": "Image", "auth": auth}
    tried = access(
        secret("wide", docker_config({"r.io": "wide"})),
        secret("close", docker_config({"r.io/team": "close", "other.io": "no"})),
        docker_config=tmp_path / "config.json",
        plugins=plugins(tmp_path, f"print({json.dumps(answer)!r})"),
    )

    assert await names(tried, "wide", "close") == ["node", "close", "wide", "plugin"]


async def test_only_the_secrets_that_the_request_names_are_used() -> None:
    tried = access(
        secret("mine", docker_config({"r.io": "mine"})), secret("its", docker_config({"r.io": "its"}))
    )

    assert await names(tried, "mine") == ["mine"]
    assert await names(tried) == []


async def test_what_cannot_be_read_is_told_and_the_rest_serves(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    tried = access(
        secret("opaque", "{}", "Opaque"),
        secret("good", docker_config({"r.io": "good"})),
        docker_config=tmp_path / "config.json",
        plugins=plugins(tmp_path, "raise SystemExit(3)"),
    )

    with capture_logs() as logs:
        found = await names(tried, "gone", "opaque", "good")

    assert found == ["good"]
    assert [entry["event"] for entry in logs] == [
        "pull secret not found",
        "pull secret unusable",
        "docker config unusable",
        "credential provider failed",
    ]
    assert logs[0]["secret"] == "default/gone"


async def test_a_docker_config_that_is_not_there_is_told(tmp_path: Path) -> None:
    tried = access(docker_config=tmp_path / "config.json")

    with capture_logs() as logs:
        found = await names(tried)

    assert found == []
    assert str(tmp_path / "config.json") in logs[0]["error"]


@pytest.mark.parametrize("helper", [{"credsStore": "desktop"}, {"credHelpers": {"r.io": "gcloud"}}])
async def test_a_helper_that_is_not_run_is_told_once(tmp_path: Path, helper: Mapping[str, object]) -> None:
    (tmp_path / "config.json").write_text(docker_config({"r.io": "node"}, **helper))
    tried = access(docker_config=tmp_path / "config.json")

    with capture_logs() as logs:
        found = [await names(tried) for _ in range(3)]

    (told,) = logs
    assert found == [["node"]] * 3
    assert (told["event"], told["log_level"]) == ("credentials not used", "warning")
    assert next(iter(helper)) in told["problem"]
