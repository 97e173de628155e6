"""Does what a plan says: patches ``pods/resize``, and mends what a runtime has otherwise than it should."""

import asyncio
from typing import assert_never

import structlog
from msgspec.structs import replace

from daemon.cri.errors import CriError
from daemon.kube.errors import ApiError, ChangedError, ForbiddenError, MissingError, RefusedError
from daemon.kube.patches import strategic_merge_patch
from daemon.kube.resources import LOCAL_PODS
from daemon.localpods.surroundings import PodSurroundings
from daemon.objects.planned_restarts import counted
from daemon.resizes import wording
from daemon.resizes.asking import RuntimeAsker, bare, resources_of
from daemon.resizes.plans import Blame, Refusal, Repair, Resize, Step
from daemon.resizes.runtime_numbers import update_of
from daemon.resizes.standing import Remembered
from daemon.resizes.targets import patch_of

NO_ROOM = frozenset({"NodeCapacity", "UnsupportedPlatform"})
"""Causes that the API server's own admission plugin PodResize gives: the node can never hold it."""
_ROOM_AGAIN = 30.0
_PATCH_AGAIN = 300.0
"""Seconds until a refused patch is sent again: what refused it, such as a quota, may have changed."""

log = structlog.get_logger()


class Applier:
    """Takes the steps of plans. What is refused is remembered, and told by the next plan."""

    def __init__(self, around: PodSurroundings, asker: RuntimeAsker, remembered: Remembered) -> None:
        self._around = around
        self._asker = asker
        self._remembered = remembered

    async def apply(self, step: Step) -> bool:
        """Take one step; tell whether what was seen must be looked at anew. Raises ApiError or CriError."""
        match step:
            case Resize():
                return await self._resize(step)
            case Repair():
                await self._repair(step)
                return True
            case _:
                assert_never(step)

    async def _resize(self, step: Resize) -> bool:
        pod, doings = step.pod, self._remembered.of(step.pod.metadata.uid)
        document = patch_of(pod, step.values)
        try:
            if counted(pod, step.restarts):  # before the kubelet can stop it: a resize takes no annotation
                await self._around.reports.tell(pod, stopped=step.restarts)
            told = await self._around.client.patch(
                LOCAL_PODS, pod.metadata.key, strategic_merge_patch(document), subresource="resize"
            )
        except MissingError:
            return False  # gone: the watch tells
        except ChangedError:
            return True
        except (ForbiddenError, RefusedError) as error:
            self._refused(step, error)
            return True
        doings.patched_at, doings.refusal = asyncio.get_running_loop().time(), None
        log.info("resized", pod=str(pod.metadata.key), to=wording.values(step.values))
        self._around.pods.learn(told)
        return False

    def _refused(self, step: Resize, error: ForbiddenError | RefusedError) -> None:
        room = any(each.reason in NO_ROOM for each in error.causes)
        blame, pause = (Blame.ROOM, _ROOM_AGAIN) if room else (Blame.PATCH, _PATCH_AGAIN)
        doings = self._remembered.of(step.pod.metadata.uid)
        doings.refusal = Refusal(step.values, blame, error.message or str(error), pause)
        doings.refused_until = asyncio.get_running_loop().time() + pause
        log.warning("resize refused", pod=str(step.pod.metadata.key), error=str(error))

    async def _repair(self, step: Repair) -> None:
        client = self._asker.client_of(step.container_id)
        doings = self._remembered.of(step.pod.metadata.uid)
        if client is None:
            return
        update = update_of(step.wanted, step.found)
        if update.memory_limit and not 0 < step.found.memory_limit <= update.memory_limit:
            used = await self._asker.used(step.container_id)
            if used is None or used + self._around.config.memory_margin_bytes > update.memory_limit:
                update = replace(update, memory_limit=0)  # never below what is in use
        try:
            await client.update_container_resources(bare(step.container_id), resources_of(update))
        finally:
            doings.repairs, doings.doubted_at, doings.numbers = doings.repairs + 1, None, None
            doings.repaired_at = asyncio.get_running_loop().time()
        note = f"container {step.container}: the runtime had other limits than the pod: {step.why}"
        self._around.record(step.pod, "ResourcesRepaired", note, action="Resize", type_="Warning")


ERRORS = (ApiError, CriError)
"""What a step may raise: the others are taken all the same."""
