"""`make demo`: real images into a real containerd by the standalone agent, watched, and checked afterwards.

Everything runs in namespaces and directories of its own and is gone at the end; ``KEEP=1`` leaves it running.
"""

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from daemon.cli.following import Followed, look
from daemon.cli.output import size
from daemon.cli.pull import reporter
from daemon.cri.channel import Channel
from daemon.cri.client import CriClient
from daemon.debug.views import NodeView, PullView
from tests.testbed import images
from tests.testbed.agent import Agent, pull_job
from tests.testbed.containerd import Containerd
from tests.testbed.enter import enter
from tests.testbed.pushing import Image, ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.session import DIRECTORY_VARIABLE, Session, current_session

MIB = 2**20
PAGE = "127.0.0.1:10231"
BASE, LIBRARIES, PROGRAM = 192 * MIB, 96 * MIB, 48 * MIB
USERNAME, PASSWORD = "finance", "a password for the demo"
PACE = "640mbit"
KEPT = {"ttlSecondsAfterFinished": 3600}


@dataclass(frozen=True, slots=True)
class Stage:
    """What the demo is played with."""

    agent: Agent
    containerd: Containerd
    first: Image
    second: Image
    private: Image
    missing: str


def main() -> int:
    """Enter the namespaces, if need be, and play."""
    if DIRECTORY_VARIABLE in os.environ:
        return asyncio.run(_play(keep=bool(os.environ.get("KEEP"))))
    published = {int(PAGE.rpartition(":")[2]): PAGE} if os.environ.get("KEEP") else {}
    return enter([sys.executable, "-m", "tests.testbed.demo"], published)


async def _play(*, keep: bool) -> int:
    async with _stage(current_session()) as stage:
        say("The agent is told to have web:v1 on this node, by a manifest in its directory.")
        stage.agent.write("web-v1", pull_job("web-v1", stage.first.ref, completionPolicy=KEPT))
        await _watch(stage.agent, [("web:v1", "web-v1")])

        say("Then web:v2, which shares all but one layer of web:v1; a private image; and a misspelt one.")
        stage.agent.write("web-v2", pull_job("web-v2", stage.second.ref, completionPolicy=KEPT))
        stage.agent.write("billing", _secret(stage.private), _private_job(stage.private))
        stage.agent.write("typo", pull_job("typo", stage.missing, pullPolicy={"backoffLimit": 1}))
        await _watch(
            stage.agent, [("web:v2", "web-v2"), ("billing:v1", "billing"), ("wbe:v2 (a typo)", "typo")]
        )

        failed = await _check(stage)
        if keep and not failed:
            await _keep(stage)
        return 1 if failed else 0


@asynccontextmanager
async def _stage(session: Session) -> AsyncIterator[Stage]:
    """A registry for all, one with a password, a containerd and an agent."""
    async with AsyncExitStack() as opened:
        say("Starting a registry, a private registry and a containerd of our own …")
        shelf = Registry(session.new_directory("r"))
        private = Registry(session.new_directory("r"), username=USERNAME, password=PASSWORD)
        containerd = Containerd("1.6", session.new_directory("c"))
        for server in (shelf, private):
            opened.push_async_callback(server.stop)
            await server.start()
        opened.push_async_callback(containerd.stop)
        for host in (shelf.host, private.host):
            containerd.trust(host)
        await containerd.start()
        say(f"Making images of incompressible data ({size(BASE + LIBRARIES + PROGRAM)} and more) …")
        made = await _make_images(shelf, private)
        agent = Agent(session.new_directory("a"), [containerd.socket], session.certificates, {"listen": PAGE})
        opened.push_async_callback(agent.stop)
        await agent.start()
        _slow_down()
        yield Stage(agent, containerd, *made)


def _slow_down() -> None:
    """Give the loopback of this namespace the pace of a network, so that there is something to watch."""
    limit = [
        "tc",
        "qdisc",
        "add",
        "dev",
        "lo",
        "root",
        "tbf",
        *f"rate {PACE} burst 1mbit latency 50ms".split(),
    ]
    if subprocess.run(limit, capture_output=True, check=False).returncode == 0:
        say(f"From here on the registries are {PACE.replace('mbit', ' Mbit/s')} away.")


async def _make_images(shelf: Registry, private: Registry) -> tuple[Image, Image, Image, str]:
    maker = ImageMaker(shelf, "shop")
    base, libraries = images.random_layer("base", BASE), images.random_layer("libraries", LIBRARIES)
    first = await maker.make("web", [base, libraries, images.random_layer("web v1", PROGRAM)], tags=["v1"])
    second = await maker.make("web", [base, libraries, images.random_layer("web v2", PROGRAM)], tags=["v2"])
    secret = await ImageMaker(private, "finance").make_random("billing", 64 * MIB)
    return first, second, secret, maker.missing("wbe", "v2")


def _secret(image: Image) -> dict[str, Any]:
    auth = base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "finance", "namespace": "default"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": {image.host: {"auth": auth}}})},
    }


def _private_job(image: Image) -> dict[str, Any]:
    return pull_job("billing", image.ref, pullSecrets=["finance"], completionPolicy=KEPT)


async def _watch(agent: Agent, jobs: Sequence[tuple[str, str]]) -> None:
    """Show the bars of these jobs until all have ended."""
    started = time.monotonic()
    every = [Followed(image, f"default/{job}") for image, job in jobs]
    with reporter("text") as shown:
        while not all(item.ended for item in every):
            view = await agent.view()
            every = [look(item, view, time.monotonic() - started) for item in every]
            shown.show(every)
            await asyncio.sleep(0.1)  # the pace of the bars


async def _check(stage: Stage) -> int:
    """Ask the agent and the runtime itself what happened; return how many expectations failed."""
    say("What happened:")
    here = {stage.first.ref, stage.second.ref, stage.private.ref}
    view = await stage.agent.until(
        lambda seen: here <= {pull.image for pull in seen.pulls if pull.pinned}, "pins", timeout=60
    )
    for pull in sorted(view.pulls, key=lambda pull: str(pull.started_at)):
        print(f"  {_line(pull)}")
    new = stage.second.layers[-1].size
    outcomes = {
        f"web:v2 fetched only its new layer ({size(new)}) and its config": new
        <= _pull(view, stage.second.ref).bytes_done
        < new + MIB,
        "the private image was pulled with its secret": _pull(view, stage.private.ref).phase == "Succeeded",
        "the missing image failed with its reason": _pull(view, stage.missing).reason == "ImageNotFound",
        **await _ask_runtime(stage),
    }
    say("Checked:")
    for words, held in outcomes.items():
        print(f"  {'ok  ' if held else 'FAIL'} {words}")
    return sum(not held for held in outcomes.values())


def _pull(view: NodeView, ref: str) -> PullView:
    return next(pull for pull in view.pulls if pull.image == ref)


def _line(pull: PullView) -> str:
    if pull.phase == "Failed":
        return f"{pull.image}  failed after {pull.failures} attempts: {pull.reason}: {pull.message}"
    return (
        f"{pull.image}  {pull.phase}: {size(pull.bytes_done)} fetched, {size(pull.bytes_reused)} were here"
        f"{', pinned' if pull.pinned else ''}"
    )


async def _ask_runtime(stage: Stage) -> dict[str, bool]:
    channel = Channel(str(stage.containerd.socket))
    try:
        found = {
            image.ref: await CriClient(channel).image_status(image.ref)
            for image in (stage.first, stage.second, stage.private)
        }
    finally:
        await channel.close()
    leases = await stage.containerd.ctr("leases", "ls")
    return {
        "containerd has all three images": all(found.values()),
        "containerd holds a lease on each (1.6 does not know image pins)": leases.count("inplaced-pin-")
        == len(found),
    }


async def _keep(stage: Stage) -> None:
    say(f"It is left running. The status page: http://{PAGE}/  Ctrl-C ends it.")
    print(f"  manifests: {stage.agent.manifests}\n  state:     {stage.agent.state}")
    print(f"  commands:  .venv/bin/inplaced status --socket {stage.agent.socket}")
    await asyncio.get_running_loop().create_future()


def say(words: str) -> None:
    """One step of the story."""
    print(f"\n\x1b[1m{words}\x1b[0m" if sys.stdout.isatty() else f"\n{words}", flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
