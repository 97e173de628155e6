"""The stored revisions of a CloneSet: found, made, renumbered after a roll-back, forgotten."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog

from daemon.engine.objects import AlreadyExistsError, ConflictError, NotFoundError, ObjectsError
from daemon.kube.errors import ForbiddenError, RefusedError, ServerError
from daemon.kube.patches import merge_patch
from daemon.objects.revisions import ControllerRevision
from daemon.objects.workloads import CloneSet
from daemon.workloads.clonesets.history import find, holds, named, next_revision, superfluous
from daemon.workloads.clonesets.making import make
from daemon.workloads.clonesets.settings import Settings
from daemon.workloads.clonesets.status import Trouble
from daemon.workloads.clonesets.surroundings import SetSurroundings

log = structlog.get_logger()

JUDGED_AGAIN: Final = 60.0
"""Seconds after which a template that was refused is tried anew."""
_TRIES = 10
"""Names that are tried for a new revision at most in one pass."""


@dataclass(frozen=True, slots=True)
class History:
    """The revisions of one set, of which two matter."""

    all: tuple[ControllerRevision, ...]
    update: ControllerRevision
    """The template as it is."""
    current: ControllerRevision
    """What pods were before; the same when there was nothing before."""
    collisions: int | None

    def data(self, name: str) -> Mapping[str, Any] | None:
        """What that revision records, if it is known."""
        found = named(self.all, name)
        return found.data if found is not None else None

    def template(self, revision: ControllerRevision) -> Mapping[str, Any]:
        """The pod template of *revision*."""
        spec = revision.data.get("spec")
        found = spec.get("template") if isinstance(spec, Mapping) else None
        return found if isinstance(found, Mapping) else {}


@dataclass(frozen=True, slots=True)
class _Judged:
    """The revision of a set that was judged last, what is wrong with it, and when that was asked."""

    revision: str
    trouble: Trouble | None
    at: float
    is_sure: bool = True
    """Whether all who judge were heard."""

    def is_old(self, now: float) -> bool:
        """Whether it may be another by now."""
        may_change = self.trouble is not None or not self.is_sure
        return may_change and now - self.at >= JUDGED_AGAIN


class Histories:
    """Keeps one revision for each state that a set's template was in."""

    def __init__(self, around: SetSurroundings) -> None:
        self._around = around
        self._judged: dict[str, _Judged] = {}
        """By UID of a set."""

    def forget(self, uid: str) -> None:
        """The set is gone."""
        self._judged.pop(uid, None)

    async def sync(self, obj: CloneSet) -> History:
        """Find or make the revision of the set's template. Raises ApiError's kinds."""
        update, collisions = await self._update(obj)
        stored = tuple(self._around.revisions_of(obj))
        current = named(stored, obj.status.current_revision) or update
        return History(stored, update, current, collisions)

    async def _update(self, obj: CloneSet) -> tuple[ControllerRevision, int | None]:
        revisions = self._around.revisions_of(obj)
        found = find(revisions, obj)
        if found is None:
            return await self._make(obj)
        if not found.newest:
            number = max(each.revision for each in revisions) + 1
            return await self._renumber(found.update, number), obj.status.collision_count
        return found.update, obj.status.collision_count

    async def _make(self, obj: CloneSet) -> tuple[ControllerRevision, int | None]:
        collisions = obj.status.collision_count or 0
        for tried in range(collisions, collisions + _TRIES):
            wanted = next_revision(obj, self._around.revisions_of(obj), tried)
            try:
                made = await self._around.client.make(self._around.revisions.resource, _document(wanted))
            except AlreadyExistsError:
                there = await self._around.client.get(self._around.revisions.resource, wanted.metadata.key)
                ours = any(each.uid == obj.metadata.uid for each in there.metadata.owner_references)
                if not ours or not holds(there, obj):
                    continue
                made = there
            self._around.revisions.learn(made)
            return made, tried or obj.status.collision_count
        raise ObjectsError(f"no name is free for the next revision of {obj.metadata.key}")

    async def _renumber(self, revision: ControllerRevision, number: int) -> ControllerRevision:
        patch = merge_patch({"revision": number, "metadata": {"uid": revision.metadata.uid}})
        resource = self._around.revisions.resource
        done = await self._around.client.patch(resource, revision.metadata.key, patch)
        self._around.revisions.learn(done)
        return done

    async def trim(self, obj: CloneSet, history: History, in_use: Collection[str]) -> None:
        """Forget the oldest revisions that nothing uses. Raises ApiError's kinds."""
        kept = {*in_use, history.update.metadata.name, history.current.metadata.name}
        resource = self._around.revisions.resource
        for revision in superfluous(history.all, kept, obj.spec.revision_history_limit):
            metadata = revision.metadata
            try:
                await self._around.client.delete(resource, metadata.key, uid=metadata.uid)
            except (NotFoundError, ConflictError):
                log.debug("revision is gone", revision=metadata.name)
            self._around.revisions.forget(revision)

    async def judge(self, obj: CloneSet, settings: Settings, history: History) -> Trouble | None:
        """What is wrong with the template, as the API server says of a pod of it that it does not keep.

        It is asked once for each revision, so that no pod is touched for the sake of one that cannot be. What
        was refused is asked for again after JUDGED_AGAIN, since a webhook may have changed its mind.
        """
        uid, name, now = obj.metadata.uid, history.update.metadata.name, self._around.clock.monotonic()
        judged = self._judged.get(uid)
        if judged is None or judged.revision != name or judged.is_old(now):
            judged = self._judged[uid] = await self._asked(obj, settings, history)
        return judged.trouble

    async def _asked(self, obj: CloneSet, settings: Settings, history: History) -> _Judged:
        name, now = history.update.metadata.name, self._around.clock.monotonic()
        try:
            return _Judged(name, await self._wrong(obj, settings, history), now)
        except ServerError as error:
            if not error.by_webhook:
                raise
            log.warning("template not judged", cloneset=str(obj.metadata.key), error=str(error))
            return _Judged(name, None, now, is_sure=False)

    async def _wrong(self, obj: CloneSet, settings: Settings, history: History) -> Trouble | None:
        template = history.template(history.update)
        pod = make(obj, settings, history.update.metadata.name, template, "tried").pod
        try:
            await self._around.client.make(self._around.pods.resource, pod, dry_run=True)
        except AlreadyExistsError:
            return None
        except RefusedError as error:
            return judgement(error)
        except ForbiddenError:
            return None  # a quota, or a policy that also looks at what there is: told when pods are made
        return None


def _document(revision: ControllerRevision) -> dict[str, Any]:
    """*revision* with the nulls in its data, which are part of what it is found by."""
    document: dict[str, Any] = msgspec.to_builtins(revision)
    metadata = document["metadata"]
    given = ("name", "namespace", "labels", "ownerReferences")
    return {**document, "metadata": {key: metadata[key] for key in given}}


def judgement(error: RefusedError) -> Trouble | None:
    """What a refused trial says of the template; nothing where somebody's webhook only cannot be tried."""
    if error.untried:
        return None
    return Trouble("InvalidTemplate", in_template(error))


def in_template(error: RefusedError) -> str:
    """What is wrong with a pod, by the field of the set's spec that it comes from."""
    if not error.causes:
        return error.message
    return "; ".join(f"{_field(cause.field)}: {cause.message}" for cause in error.causes)


def _field(path: str) -> str:
    return f"spec.template.{path}" if path.startswith(("spec", "metadata")) else path
