"""Asks the runtime what containers may use, and what they use."""

from collections.abc import Iterator

from daemon.cri.client import CriClient
from daemon.cri.errors import CriError, NotFoundError
from daemon.cri.types import Resources
from daemon.engine.together import together
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.local_pods import ContainerStatus, LocalPod
from daemon.resizes.runtime_numbers import Numbers


class RuntimeAsker:
    """Looks containers of pods up in the runtimes that run them."""

    def __init__(self, around: PodSurroundings) -> None:
        self._around = around

    async def usage(self, pod: LocalPod) -> dict[str, int | None]:
        """By running container, the bytes of its working set; None where they cannot be read."""
        found = list(_running(pod))
        answers = await together(self.used(each.container_id) for each in found)
        return dict(zip((each.name for each in found), answers, strict=True))

    async def numbers(self, pod: LocalPod) -> dict[str, Numbers | None]:
        """By running container, its limits as the runtime has them; None where it does not tell.

        Raises CriError.
        """
        found = list(_running(pod))
        answers = await together(self._limits(each) for each in found)
        return dict(zip((each.name for each in found), answers, strict=True))

    def client_of(self, container_id: str) -> CriClient | None:
        """The way to the runtime of that container, if it was reached."""
        runtime = self._around.runtime_of(container_id)
        return runtime.client if runtime is not None else None

    async def used(self, container_id: str) -> int | None:
        """The bytes of the working set of one container; None where they cannot be read."""
        client = self.client_of(container_id)
        if client is None:
            return None
        try:
            return (await client.container_stats(bare(container_id))).memory_working_set
        except CriError:
            return None

    async def _limits(self, status: ContainerStatus) -> Numbers | None:
        client = self.client_of(status.container_id)
        if client is None:
            return None
        try:
            found = await client.container_status(bare(status.container_id))
        except NotFoundError:
            return None  # it has just been replaced: the kubelet will tell
        return numbers_of(found.resources) if found.resources is not None else None


def bare(container_id: str) -> str:
    """The ID as its runtime knows it, without the runtime's name."""
    return container_id.partition("://")[2]


def numbers_of(resources: Resources) -> Numbers:
    """What the planner needs of what a runtime told."""
    return Numbers(
        cpu_period=resources.cpu_period,
        cpu_quota=resources.cpu_quota,
        cpu_shares=resources.cpu_shares,
        memory_limit=resources.memory_limit,
        unified=resources.unified,
    )


def resources_of(numbers: Numbers) -> Resources:
    """The same as a runtime is told; 0 leaves a value as it is."""
    return Resources(
        cpu_period=numbers.cpu_period,
        cpu_quota=numbers.cpu_quota,
        cpu_shares=numbers.cpu_shares,
        memory_limit=numbers.memory_limit,
    )


def _running(pod: LocalPod) -> Iterator[ContainerStatus]:
    for each in (*pod.status.container_statuses, *pod.status.init_container_statuses):
        if each.state.running is not None and each.container_id:
            yield each
