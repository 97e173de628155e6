"""The systemd unit: valid, as closed as it can be, in step with the settings, no hindrance to the work."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from daemon.config import StandaloneConfig
from daemon.settings import load
from tests.testbed.agent import Agent, pull_job
from tests.testbed.confined import command_for, read_unit
from tests.testbed.containerd import Containerd
from tests.testbed.fixtures import PASSWORD, USERNAME
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.session import Session
from tests.testbed.witness import Witness

ROOT = Path(__file__).parents[2]
UNIT, ENVIRONMENT = ROOT / "systemd/inplaced.service", ROOT / "systemd/inplaced.env"
LOWEST_EXPOSURE = 16
"""Tenths. Left: root (0.4), the network (0.5), Internet and unix sockets (0.3, 0.1) to any address (0.2), the
host's root (0.1) and users (0.2), the clock's device that ProtectClock= opens for reading (0.1)."""
TIMEOUT = 60.0


def analyzed(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


@pytest.fixture
def unit() -> dict[str, list[str]]:
    return read_unit(UNIT.read_text(encoding="utf-8"))


def environment() -> dict[str, str]:
    lines = ENVIRONMENT.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    program = re.search(r"^ExecStart=(\S+)", text, re.MULTILINE)
    assert program is not None
    copy.write_text(text.replace(program[1], sys.executable), encoding="utf-8")

    found = analyzed("verify", "--man=no", str(copy))

    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def test_systemd_would_notice_a_mistake_in_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text(encoding="utf-8").replace("ProtectHome=yes", "ProtectHome=perhaps"))

    assert "ignoring: perhaps" in analyzed("verify", "--man=no", str(copy)).stderr


def test_the_unit_is_as_closed_as_the_cri_socket_allows() -> None:
    found = analyzed("security", "--offline=true", f"--threshold={LOWEST_EXPOSURE}", str(UNIT))
    tighter = analyzed("security", "--offline=true", f"--threshold={LOWEST_EXPOSURE - 1}", str(UNIT))

    assert found.returncode == 0, found.stdout
    assert tighter.returncode != 0, "lower LOWEST_EXPOSURE: the unit is better by now"


def test_the_environment_file_is_taken_by_the_program_as_it_is() -> None:
    config = load(StandaloneConfig, "inplaced standalone", [], environment())

    assert config.manifests == Path("/etc/inplaced/manifests")


def test_unit_and_settings_speak_of_the_same_directories(unit: dict[str, list[str]]) -> None:
    config = load(StandaloneConfig, "inplaced standalone", [], environment())

    assert config.state == Path("/var/lib", unit["StateDirectory"][0])
    assert Path(config.socket).parent == Path("/run", unit["RuntimeDirectory"][0])
    assert str(config.manifests.relative_to("/etc")) in unit["ConfigurationDirectory"][0].split()
    assert unit["EnvironmentFile"] == ["/etc/inplaced/inplaced.env"]


def test_systemd_waits_longer_than_the_program_needs_to_stop(unit: dict[str, list[str]]) -> None:
    config = load(StandaloneConfig, "inplaced standalone", [], environment())

    assert float(unit["TimeoutStopSec"][0]) >= config.shutdown_grace + 10


PROBE = """
import ctypes, json, mmap, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def unshare():
    if libc.unshare(0x20000):
        raise OSError(ctypes.get_errno(), "unshare")

def answer(ask):
    try:
        ask()
    except OSError as error:
        return error.errno
    return 0

here = sys.argv[1]
print(json.dumps({
    "write elsewhere": answer(lambda: open("/etc/probe", "w")),
    "write its state": answer(lambda: open(here + "/probe", "w")),
    "read": answer(lambda: open("/etc/passwd")),
    "chown": answer(lambda: os.chown(here + "/probe", 0, 0)),
    "unshare": answer(unshare),
    "packet socket": answer(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "netlink socket": answer(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
    "writable code": answer(lambda: mmap.mmap(-1, 4096, prot=7)),
    "other processes": answer(lambda: open("/proc/meminfo")),
    "names": answer(lambda: socket.getaddrinfo("localhost", 80)),
    "free space": answer(lambda: os.statvfs("/var/lib")),
}))
"""


def test_the_confinement_of_these_tests_is_real(testbed: Session) -> None:
    state = testbed.new_directory("s")
    command = command_for(UNIT, [state], [sys.executable, "-c", PROBE, str(state)])

    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=TIMEOUT, cwd=ROOT)

    allowed = {"write its state": 0, "read": 0, "names": 0, "free space": 0}
    refused = {"write elsewhere": 30, "chown": 1, "unshare": 1, "writable code": 1, "other processes": 2}
    sockets = {"packet socket": 97, "netlink socket": 97}
    assert json.loads(found.stdout) == allowed | refused | sockets


@pytest_asyncio.fixture
async def confined_agent(
    testbed: Session, containerd: Containerd, private_registry: Registry
) -> AsyncIterator[Agent]:
    """An agent under the rules of the unit, with a credential provider plugin for the private registry."""
    directory = testbed.new_directory("a")
    settings = _with_plugin(directory, private_registry.host)
    agent = Agent(directory, [containerd.socket], testbed.certificates, settings)
    agent._process.command = command_for(UNIT, [directory], agent._process.command)
    try:
        await agent.start()
        yield agent
    finally:
        await agent.stop()


def status_of(agent: Agent) -> str:
    """What the kernel says of the process."""
    return Path(f"/proc/{agent.pid}/status").read_text()


def _with_plugin(directory: Path, host: str) -> dict[str, str]:
    answer = {
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "kind": "CredentialProviderResponse",
        "cacheKeyType": "Registry",
        "auth": {host: {"username": USERNAME, "password": PASSWORD}},
    }
    plugin = directory / "bin/plugin"
    plugin.parent.mkdir()
    plugin.write_text(f"#!/bin/sh\ncat >/dev/null\necho {shlex.quote(json.dumps(answer))}\n")
    plugin.chmod(0o755)
    provider = {
        "name": "plugin",
        "matchImages": [host],
        "defaultCacheDuration": "1m",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
    }
    config = {"apiVersion": "kubelet.config.k8s.io/v1", "kind": "CredentialProviderConfig"}
    path = directory / "plugins.yaml"
    path.write_text(json.dumps(config | {"providers": [provider]}))
    return {"credential-provider-config": str(path), "credential-provider-bin-dir": str(plugin.parent)}


async def test_under_the_rules_of_the_unit_a_private_image_is_pulled_pinned_and_told(
    confined_agent: Agent, witness: Witness, private_image_maker: ImageMaker
) -> None:
    made = await private_image_maker.make_random("app", 3000, 2000)

    confined_agent.write("app", pull_job("app", made.ref))
    job = (await confined_agent.ended("app"))["app"]

    status = status_of(confined_agent)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    assert (job.succeeded, job.failed, job.message) == (1, 0, "job has completed")
    assert await witness.image(made.ref) is not None
    await confined_agent.until(
        lambda view: any(pull.image == made.ref and pull.pinned for pull in view.pulls), "pin"
    )
    assert (await confined_agent.view()).disk is not None


async def test_under_the_rules_of_the_unit_the_agent_ends_when_asked(confined_agent: Agent) -> None:
    await confined_agent.stop()

    assert '"event": "stopping"' in confined_agent.log
    assert "Traceback" not in confined_agent.log
    assert not confined_agent.socket.exists()


def test_a_compiled_program_runs_under_the_rules_of_the_unit(
    containerd: Containerd, testbed: Session
) -> None:
    program = str(containerd._binary("ctr"))
    command = command_for(UNIT, [testbed.new_directory("s")], [program, "--version"])

    found = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=TIMEOUT, cwd=ROOT, env=dict(os.environ)
    )

    assert (found.returncode, found.stderr) == (0, "")
    assert "ctr" in found.stdout
