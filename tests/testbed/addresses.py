"""The addresses of the test bed's clusters: a number each, so that several live in the same namespaces."""

import itertools
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.session import TestbedError, current_session

LAST = 200


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything of one cluster listens."""

    number: int

    @property
    def loopback(self) -> str:
        """For servers that no pod needs; all of 127/8 is the loopback."""
        return f"127.0.{self.number}.1"

    @property
    def services(self) -> str:
        """The range of ClusterIPs."""
        return f"10.96.{self.number}.0/24"

    @property
    def kubernetes(self) -> str:
        """The ClusterIP of the service ``kubernetes``: the first of its range, always."""
        return f"10.96.{self.number}.1"

    @property
    def pods(self) -> str:
        """The range of pods."""
        return f"10.244.{self.number}.0/24"

    @property
    def node(self) -> str:
        """The node, and the gateway of its pods."""
        return f"10.244.{self.number}.1"

    @property
    def bridge(self) -> str:
        """The interface that pods are connected to."""
        return f"cluster{self.number}"

    def bring_up(self) -> None:
        """Make the bridge, with the addresses of the node and of the API server on it.

        No proxy is needed for the one service that pods use: the API server itself listens on its ClusterIP.
        """
        commands = (
            # An address of its own: else it takes the lowest of its ports', and with each new pod that may
            # become another one, which the other pods do not know for half a minute.
            f"link add {self.bridge} address 02:00:00:00:{self.number:02x}:01 type bridge forward_delay 0",
            f"address add {self.node}/24 dev {self.bridge}",
            f"address add {self.kubernetes}/32 dev {self.bridge}",
            f"link set {self.bridge} up",
        )
        subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)

    def cut_pods_off(self) -> int:
        """Break every connection that pods have with the API server; the answer is how many those were."""
        which = ["state", "established", "src", f"{self.kubernetes}:443", "dst", self.pods]
        cut = subprocess.run(
            ["ss", "-K", "-H", "-t", "-n", *which], capture_output=True, text=True, check=True
        )
        return len(cut.stdout.splitlines())

    def take_down(self) -> None:
        """Remove the bridge, if it is there."""
        subprocess.run(["ip", "link", "delete", self.bridge], capture_output=True, check=False)

    def give_back(self) -> None:
        """Let another cluster have them."""
        (_taken() / str(self.number)).rmdir()


def free_addresses() -> Addresses:
    """Addresses that no other cluster of this session has."""
    taken = _taken()
    taken.mkdir(exist_ok=True)
    for number in itertools.count(1):
        if number > LAST:
            raise TestbedError(f"there are {LAST} clusters in this session: stop some")
        try:
            (taken / str(number)).mkdir()
        except FileExistsError:
            continue
        return Addresses(number)
    raise AssertionError


def _taken() -> Path:
    return current_session().directory / "clusters"
