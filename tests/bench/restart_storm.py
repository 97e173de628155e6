"""Changes of pods while agent, controller and runtime are killed: each must lead to exactly one restart.

python -m tests.testbed.enter -- .venv/bin/python -m tests.bench.restart_storm
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from tests.testbed.cluster import Cluster
from tests.testbed.containerd import Flavour
from tests.testbed.restarting import restarting
from tests.testbed.session import current_session
from tests.testbed.storm import Kills, Outcome, storm

PODS: Final = 20
SHORT_BACK_OFF: Final = {"crashLoopBackOff": {"maxContainerRestartPeriod": "1s"}}
"""Bare pods are restarted ten times each: with the kubelet's own back-off that takes most of an hour."""


def main(arguments: Sequence[str]) -> int:
    """Exit code 0 when each change led to one restart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runtime", choices=("1.6", "2.3"), default="1.6")
    parser.add_argument("--rounds", type=int, default=10, help="changes of each pod, one after the other")
    parser.add_argument("--strategy", choices=("stop", "image-alias"), default="image-alias")
    parser.add_argument("--agent", type=int, default=50, help="kills")
    parser.add_argument("--controller", type=int, default=20, help="kills")
    parser.add_argument("--containerd", type=int, default=5, help="kills")
    options = parser.parse_args(arguments)
    kills = Kills(options.agent, options.controller, options.containerd)
    outcome = asyncio.run(_run(options.runtime, options.strategy, options.rounds, kills))
    print(f"{outcome.changes} changes of {PODS} pods in {outcome.seconds:.0f} s, killed: {outcome.killed}")
    print(f"starts that the kubelet repeated because the runtime died under them: {outcome.repeated}")
    print("\n".join(outcome.wrong) or "each led to exactly one restart")
    return 1 if outcome.wrong else 0


async def _run(flavour: Flavour, strategy: str, rounds: int, kills: Kills) -> Outcome:
    cluster = Cluster(current_session().new_directory("k"), flavour, kubelet_settings=SHORT_BACK_OFF)
    try:
        await cluster.start()
        async with restarting(cluster, central={"restart-strategy": strategy}) as world:
            bare = [f"bare-{number}" for number in range(PODS // 2)]
            for pod in bare:
                await world.create(pod)
            owned = await world.deploy(
                "owned", PODS - len(bare), annotations={"inplaced.dev/max-unavailable": "50%"}
            )
            for pod in bare:
                await world.in_sync(pod)
            return await storm(world, [*bare, *owned], rounds, kills)
    finally:
        await cluster.stop()
        cluster.remove()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
