"""Credential provider plugins: real executables, run as the kubelet runs them."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.nodeimages.credentials import Credential, PluginError
from daemon.nodeimages.plugins import CredentialPlugins, load_plugins
from daemon.nodeimages.provider_config import duration_seconds, read_providers
from daemon.objects.references import parse

V1 = "credentialprovider.kubelet.k8s.io/v1"
SECRET = "hunter2-s3cr3t"  # Appears in no text of ours.
ANSWER: Mapping[str, Any] = {
    "apiVersion": V1,
    "kind": "CredentialProviderResponse",
    "cacheKeyType": "Image",
    "cacheDuration": "5m0s",
    "auth": {"r.io": {"username": "u", "password": SECRET}},
}
IMAGE = parse("r.io/team/app:v1")


@dataclass
class HandClock:
    """A clock that is moved by hand."""

    seconds: float = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class Node:
    """Plugins, their configuration, and what they were asked."""

    root: Path
    clock: HandClock

    def write(self, name: str, script: str) -> None:
        """Make an executable; ``log`` in it is the file of its runs."""
        path = self.root / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\nlog = {str(self.log)!r}\n{script}")
        path.chmod(0o755)

    def answering(self, name: str = "plugin", **changes: Any) -> None:
        """Make a plugin that notes its request and gives an answer."""
        note = (
            'open(log, "a").write(json.dumps([sys.stdin.read(), sys.argv[1:], dict(os.environ)]) + "\\n")\n'
        )
        self.write(name, f"{note}print({json.dumps({**ANSWER, **changes})!r})")

    def configure(self, *providers: Mapping[str, Any]) -> Path:
        config = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
        path = self.root / "config.yaml"
        path.write_text(json.dumps({**config, "providers": providers}))
        return path

    def load(self, *providers: Mapping[str, Any], environ: Mapping[str, str] = {}) -> CredentialPlugins:
        config = self.configure(*(providers or (provider(),)))
        return load_plugins(config, self.root / "bin", {"PATH": os.environ["PATH"], **environ}, self.clock)

    def impatient(self, timeout: float) -> CredentialPlugins:
        providers = read_providers(self.configure(provider()), self.root / "bin")
        return CredentialPlugins(providers, {}, self.clock, timeout=timeout)

    @property
    def log(self) -> Path:
        return self.root / "runs"

    @property
    def runs(self) -> list[tuple[dict[str, Any], list[str], dict[str, str]]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(json.loads(stdin), args, env) for stdin, args, env in map(json.loads, lines)]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path, HandClock())


def provider(name: str = "plugin", **changes: Any) -> dict[str, Any]:
    entry = {"name": name, "matchImages": ["*.io"], "defaultCacheDuration": "10m", "apiVersion": V1}
    return {**entry, **changes}


async def until(done: Callable[[], bool]) -> None:
    """Wait for a state, ten seconds at most."""
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - the state is another process's
            await asyncio.sleep(0.01)


def outrun(file: Path) -> None:
    """Hold the loop up until a program has written *file*, as a busy machine does."""
    deadline = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


async def test_a_plugin_is_asked_as_the_kubelet_asks(node: Node) -> None:
    node.answering()
    env = [{"name": "PROFILE", "value": "prod"}]
    plugins = node.load(
        provider(args=["get", "--now"], env=env), environ={"PROFILE": "lost", "HOME": "/root"}
    )

    found = await plugins.lookup(IMAGE)

    assert found == (Credential("u", SECRET, server_address="r.io", source="credential provider plugin"),)
    [(request, args, environ)] = node.runs
    assert request == {"apiVersion": V1, "kind": "CredentialProviderRequest", "image": "r.io/team/app"}
    assert args == ["get", "--now"]
    assert (environ["PROFILE"], environ["HOME"]) == ("prod", "/root")


async def test_an_image_that_matches_nothing_runs_nothing(node: Node) -> None:
    node.answering()
    plugins = node.load(provider(matchImages=["s.io", "*.r.io", "r.io:5000", "r.io/other"]))

    assert await plugins.lookup(IMAGE) == ()
    assert node.runs == []


async def test_answers_for_other_hosts_are_not_used(node: Node) -> None:
    node.answering(auth={"s.io": {"username": "u", "password": "p"}, "@": {"username": "u", "password": "p"}})

    assert await node.load().lookup(IMAGE) == ()


@pytest.mark.parametrize("auth", [None, {}, {"r.io": {"username": "", "password": ""}}])
async def test_a_plugin_may_have_nothing(node: Node, auth: object) -> None:
    node.answering(auth=auth)

    assert await node.load().lookup(IMAGE) == ()


@pytest.mark.parametrize(("key", "expected_runs"), [("Image", 3), ("Registry", 2), ("Global", 1)])
async def test_answers_are_kept_for_what_they_say(node: Node, key: str, expected_runs: int) -> None:
    node.answering(cacheKeyType=key)
    plugins = node.load()

    for image in ("r.io/a:v1", "r.io/a:v2", "r.io/b", "s.io/a"):
        await plugins.lookup(parse(image))

    assert len(node.runs) == expected_runs


@pytest.mark.parametrize(
    ("duration", "default", "seconds"),
    [("5m0s", "0s", 300), ("1h", "0s", 3600), (None, "10m", 600), ("100ms", "10m", 0.1)],
)
async def test_answers_are_kept_as_long_as_they_say(
    node: Node, duration: str | None, default: str, seconds: float
) -> None:
    node.answering(cacheDuration=duration)
    plugins = node.load(provider(defaultCacheDuration=default))

    await plugins.lookup(IMAGE)
    node.clock.seconds += seconds * 0.99
    await plugins.lookup(IMAGE)
    kept = len(node.runs)
    node.clock.seconds += seconds * 0.02
    await plugins.lookup(IMAGE)

    assert (kept, len(node.runs)) == (1, 2)


@pytest.mark.parametrize(("duration", "default"), [("0s", "10m"), (None, "0s"), ("-1s", "10m")])
async def test_zero_keeps_nothing(node: Node, duration: str | None, default: str) -> None:
    node.answering(cacheDuration=duration)
    plugins = node.load(provider(defaultCacheDuration=default))

    await plugins.lookup(IMAGE)
    await plugins.lookup(IMAGE)

    assert len(node.runs) == 2


async def test_those_who_ask_the_same_at_once_share_one_run(node: Node) -> None:
    node.answering(cacheDuration="0s")
    plugins = node.load()

    found = await asyncio.gather(*(plugins.lookup(IMAGE) for _ in range(5)))

    assert {one[0].password for one in found} == {SECRET}
    assert len(node.runs) == 1


async def test_who_waits_is_served_although_the_first_is_cancelled(node: Node) -> None:
    # The first run stalls, each other one answers.
    stall = (
        "import pathlib\nif not os.path.exists(log):\n    pathlib.Path(log).touch()\n    time.sleep(600)\n"
    )
    node.write("plugin", f"{stall}print({json.dumps(ANSWER)!r})")
    plugins = node.load()
    first = asyncio.create_task(plugins.lookup(IMAGE))
    await until(node.log.exists)
    second = asyncio.create_task(plugins.lookup(IMAGE))
    await asyncio.sleep(0)

    first.cancel()
    async with asyncio.timeout(10):
        found = await second

    assert [one.password for one in found] == [SECRET]
    assert first.cancelled()


async def test_a_failure_is_shared_and_not_kept(node: Node) -> None:
    node.write("plugin", "open(log, 'a').write('[\"{}\", [], {}]\\n'); sys.exit(3)")
    plugins = node.load()

    results = await asyncio.gather(*(plugins.lookup(IMAGE) for _ in range(3)), return_exceptions=True)
    failed_runs = len(node.runs)
    node.answering()

    assert {type(one) for one in results} == {PluginError}
    assert failed_runs == 1
    assert len(await plugins.lookup(IMAGE)) == 1


async def test_a_failure_tells_what_the_plugin_says_without_its_secrets(node: Node) -> None:
    token = f"Authorization: Bearer {SECRET}{SECRET} password={SECRET} "
    said = f"\x1b[31mno session\x1b[0m\n{token}{'x' * 9000}"
    node.write("plugin", f"sys.stderr.write({said!r}); sys.exit(7)")

    with pytest.raises(PluginError) as caught:
        await node.load().lookup(IMAGE)

    text = str(caught.value)
    assert "credential provider plugin for r.io/team/app: exit code 7:" in text
    assert "no session" in text
    assert SECRET not in text
    assert "\x1b" not in text
    assert len(text) < 700


@pytest.mark.parametrize(
    "script",
    [
        "",
        "print('no json')",
        "print('[]')",
        "print('[' * 100000)",
        "sys.stdout.buffer.write(b'\\xff\\xfe')",
        f"print({json.dumps({**ANSWER, 'kind': 'Secret'})!r})",
        f"print({json.dumps({**ANSWER, 'apiVersion': V1 + 'beta1'})!r})",
        f"print({json.dumps({**ANSWER, 'cacheKeyType': SECRET})!r})",
        f"print({json.dumps({**ANSWER, 'cacheDuration': SECRET})!r})",
        f"print({json.dumps({**ANSWER, 'auth': {'r.io': SECRET}})!r})",
        f"print({json.dumps({**ANSWER, 'auth': {'r.io': {'password': [SECRET]}}})!r})",
    ],
)
async def test_an_answer_that_is_none_is_refused_and_not_shown(node: Node, script: str) -> None:
    node.write("plugin", script)

    with pytest.raises(PluginError, match=r"credential provider plugin for r\.io/team/app: ") as caught:
        await node.load().lookup(IMAGE)

    assert SECRET not in f"{caught.value}{caught.value.__cause__!r}{caught.value.__context__!r}"


async def test_an_endless_answer_is_cut(node: Node) -> None:
    node.write("plugin", "while True: print('x' * 65536)")

    with pytest.raises(PluginError, match="more than 1 MiB"):
        await node.load().lookup(IMAGE)


async def test_endless_complaints_do_not_block_the_answer(node: Node) -> None:
    node.write("plugin", f"sys.stderr.write('x' * 5_000_000)\nprint({json.dumps(ANSWER)!r})")

    assert len(await node.load().lookup(IMAGE)) == 1


async def test_a_plugin_need_not_read_its_request(node: Node) -> None:
    node.write("plugin", f"os.close(0)\nprint({json.dumps(ANSWER)!r})")

    assert len(await node.load().lookup(IMAGE)) == 1


STALLING = """
import pathlib, subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(log + ".new").write_text(f"{os.getpid()} {child.pid}")
os.rename(log + ".new", log)
time.sleep(600)
"""


async def test_a_plugin_that_stalls_is_killed_with_its_children(node: Node) -> None:
    node.write("plugin", STALLING)

    with pytest.raises(PluginError, match="did not answer within 2 s"):
        await node.impatient(2).lookup(IMAGE)

    pids = [int(pid) for pid in node.log.read_text().split()]
    await until(lambda: not any(map(alive, pids)))


async def test_cancelling_kills_the_plugin_with_its_children(node: Node) -> None:
    node.write("plugin", STALLING)
    lookup = asyncio.create_task(node.load().lookup(IMAGE))
    await until(node.log.exists)
    pids = [int(pid) for pid in node.log.read_text().split()]

    lookup.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lookup

    await until(lambda: not any(map(alive, pids)))


@pytest.mark.parametrize("turns", range(2, 12))
async def test_cancelling_a_plugin_that_just_starts_kills_it_with_its_children(
    node: Node, turns: int
) -> None:
    node.write("plugin", STALLING)
    lookup = asyncio.create_task(node.load().lookup(IMAGE))
    for _ in range(turns):
        await asyncio.sleep(0)
    outrun(node.log)
    pids = [int(pid) for pid in node.log.read_text().split()]

    lookup.cancel()
    await asyncio.wait([lookup], timeout=10)

    assert lookup.cancelled()
    await until(lambda: not any(map(alive, pids)))


async def test_a_plugin_that_vanished_is_an_error(node: Node) -> None:
    node.answering()
    plugins = node.load()
    (node.root / "bin" / "plugin").unlink()

    with pytest.raises(PluginError, match="does not start"):
        await plugins.lookup(IMAGE)


async def test_one_plugin_that_fails_does_not_hide_the_other(node: Node) -> None:
    node.write("broken", "sys.exit(1)")
    node.answering("good")

    found = await node.load(provider("broken"), provider("good")).lookup(IMAGE)

    assert [one.source for one in found] == ["credential provider good"]


async def test_answers_of_all_plugins_are_combined_the_most_specific_first(node: Node) -> None:
    node.answering("one", auth={"r.io": {"username": "host", "password": "p"}})
    node.answering("two", auth={"r.io/team": {"username": "team", "password": "p"}})

    found = await node.load(provider("one"), provider("two")).lookup(IMAGE)

    assert [one.username for one in found] == ["team", "host"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "../plugin"}, "name"),
        ({"name": "bin/plugin"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "plug in"}, "name"),
        ({"name": "gone"}, "name"),
        ({"name": "plain"}, "name"),
        ({"apiVersion": "credentialprovider.kubelet.k8s.io/v9"}, "apiVersion"),
        ({"matchImages": []}, "matchImages"),
        ({"matchImages": ["r.io", "user@r.io"]}, "matchImages"),
        ({"defaultCacheDuration": ""}, "defaultCacheDuration"),
        ({"defaultCacheDuration": "-5m"}, "defaultCacheDuration"),
        ({"defaultCacheDuration": "5 minutes"}, "defaultCacheDuration"),
        ({"env": [{"name": "A=B", "value": SECRET}]}, "env"),
        ({"env": [{"name": "A", "value": SECRET + "\0"}]}, "env"),
        ({"env": [{"name": "A", "value": 1}]}, "value"),
        ({"args": "get"}, "args"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file_provider_and_field(
    node: Node, changes: dict[str, Any], field: str
) -> None:
    node.answering()
    node.answering("other")
    (node.root / "bin" / "plain").write_text("not executable")

    with pytest.raises(PluginError) as caught:
        node.load(provider("other"), provider(**changes))

    text = str(caught.value)
    assert str(node.root / "config.yaml") in text
    assert "providers[1]" in text
    assert field in text
    assert SECRET not in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "a: b: c",
        "\0",
        "kind: CredentialProviderConfig",
        "{kind: Pod, apiVersion: v1}",
        "{kind: CredentialProviderConfig, apiVersion: kubelet.config.k8s.io/v1}",
        "{kind: CredentialProviderConfig, apiVersion: kubelet.config.k8s.io/v7, providers: []}",
        "[" * 5000,
    ],
)
def test_a_file_that_is_no_configuration_is_named(node: Node, text: str) -> None:
    path = node.root / "config.yaml"
    path.write_text(text)

    with pytest.raises(PluginError, match=str(path)):
        read_providers(path, node.root)


def test_a_file_that_is_gone_is_named(node: Node) -> None:
    with pytest.raises(PluginError, match=r"gone\.yaml: cannot be read"):
        read_providers(node.root / "gone.yaml", node.root)


def test_a_name_may_be_there_once_only(node: Node) -> None:
    node.answering()

    with pytest.raises(PluginError, match="twice"):
        node.load(provider(), provider())


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_all_versions_of_the_kubelet_are_read_as_yaml(node: Node, version: str) -> None:
    node.answering()
    path = node.root / "config.yaml"
    path.write_text(
        f"apiVersion: kubelet.config.k8s.io/{version}\n"
        "kind: CredentialProviderConfig\n"
        "providers:\n"
        "- name: plugin\n"
        "  matchImages: ['*.dkr.ecr.*.amazonaws.com', registry.io:8080/path]\n"
        "  defaultCacheDuration: 12h30m\n"
        f"  apiVersion: credentialprovider.kubelet.k8s.io/{version}\n"
    )

    [found] = read_providers(path, node.root / "bin")

    assert found.cache_seconds == 45000
    assert found.serves(parse("1234.dkr.ecr.eu-west-1.amazonaws.com/app"))
    assert not found.serves(parse("dkr.ecr.eu-west-1.amazonaws.com/app"))


def test_a_directory_of_files_is_read_in_order(node: Node) -> None:
    node.answering("one")
    node.answering("two")
    folder = node.root / "configs"
    folder.mkdir()
    node.configure(provider("two")).rename(folder / "b.json")
    node.configure(provider("one")).rename(folder / "a.yml")
    (folder / "README").write_text("not read")

    assert [found.name for found in read_providers(folder, node.root / "bin")] == ["one", "two"]


def test_an_empty_directory_is_an_error(node: Node) -> None:
    with pytest.raises(PluginError, match="has no"):
        read_providers(node.root, node.root)


async def test_a_plugin_for_service_accounts_alone_is_left_to_the_kubelet(node: Node) -> None:
    node.answering("pods")
    node.answering("both")
    tokens = {"serviceAccountTokenAudience": "r.io", "cacheType": "Token"}
    pods = provider("pods", tokenAttributes={**tokens, "requireServiceAccount": True})
    both = provider("both", tokenAttributes={**tokens, "requireServiceAccount": False})

    found = await node.load(pods, both).lookup(IMAGE)

    assert [one.source for one in found] == ["credential provider both"]
    assert len(node.runs) == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("5m0s", 300),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1h2m3s", 3723),
        ("-1m", -60),
        ("2us", 2e-6),
    ],
)
def test_durations_are_read_as_in_go(text: str, seconds: float) -> None:
    assert duration_seconds(text) == pytest.approx(seconds)


@given(st.text(max_size=10))
def test_any_other_text_is_no_duration(text: str) -> None:
    seconds = duration_seconds(text)

    assert seconds is None or text[-1] in "0smh"
