"""What the fake API server stores: documents, versions, a history for watches, owners and finalizers."""

import json
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Document = Mapping[str, Any]
Name = tuple[str, str]
"""Namespace and name."""
HISTORY = 20_000
"""Changes that are remembered for watches."""


class RefusalError(Exception):
    """What the server answers instead of doing it."""

    def __init__(
        self, code: int, reason: str, message: str, causes: tuple[Mapping[str, str], ...] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.causes = causes


@dataclass(frozen=True, slots=True)
class Served:
    """One kind that the server knows."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = True
    """Whether it has a status of its own, and with it a generation."""
    tagged_by_status: bool = False
    """Whether labels and annotations can be written with the status, as those of pods can."""
    subresources: tuple[str, ...] = ()
    """What is discovered of it beside the kind itself."""
    validate: Callable[[Document], str] = lambda _document: ""
    """Returns what is wrong."""
    prune: Callable[[Document], Document] = lambda document: document
    """Returns what the schema knows."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one document, as watches are told."""

    version: int
    plural: str
    type: str
    document: Document
    before: Document | None

    def line(self, type_: str, document: Document) -> bytes:
        """The line of a watch."""
        return json.dumps({"type": type_, "object": document}).encode() + b"\n"


@dataclass
class Storage:
    """All documents of a server, by plural and name."""

    documents: dict[str, dict[Name, Document]] = field(default_factory=dict)
    history: deque[Change] = field(default_factory=lambda: deque(maxlen=HISTORY))
    revision: int = 100
    oldest: int = 100
    """Watches that begin before this version are told that it has expired."""
    listeners: list[Callable[[Change], None]] = field(default_factory=list)
    ahead: timedelta = timedelta(0)
    """How far the server's clock is ahead of this machine's."""

    def now(self) -> datetime:
        """Wall time on the server."""
        return datetime.now(UTC) + self.ahead

    def of(self, plural: str) -> dict[Name, Document]:
        """The documents of one kind."""
        return self.documents.setdefault(plural, {})

    def create(self, kind: Served, name: Name, document: Document) -> Document:
        """Add a document, without a status."""
        if name in self.of(kind.plural):
            raise RefusalError(409, "AlreadyExists", f'{kind.plural} "{name[1]}" already exists')
        metadata = dict(document.get("metadata", {})) | {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": self.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        if kind.status:
            metadata["generation"] = 1
        content = {key: value for key, value in document.items() if key != "status" or not kind.status}
        return self._store(kind, name, "ADDED", content | {"metadata": metadata})

    def update(
        self, kind: Served, name: Name, wanted: Document, *, status: bool, dry_run: bool = False
    ) -> Document:
        """Replace content and tags, or only the status; with *dry_run* only answer what it would be then."""
        now = self.read(kind, name)
        _check(kind, now, wanted, status=status)
        if status:
            after = {**now, "status": wanted.get("status", {})}
            if kind.tagged_by_status:
                after["metadata"] = _tagged(now["metadata"], wanted["metadata"])
        else:
            after = {**wanted, "metadata": _tagged(now["metadata"], wanted["metadata"])}
            if kind.status:
                after.pop("status", None)
                after |= {"status": now["status"]} if "status" in now else {}
            if kind.status and _content(after) != _content(now):
                after["metadata"]["generation"] = now["metadata"]["generation"] + 1
        after = dict(kind.prune(after))
        if after == now or dry_run:
            return after
        if after["metadata"].get("deletionTimestamp") and not after["metadata"].get("finalizers"):
            return self._remove(kind, name)
        return self._store(kind, name, "MODIFIED", after)

    def delete(self, kind: Served, name: Name, uid: str) -> tuple[Document, bool]:
        """Remove a document, or mark it when finalizers hold it; tell whether it has gone."""
        now = self.read(kind, name)
        if uid and uid != now["metadata"]["uid"]:
            raise RefusalError(409, "Conflict", "the UID in the precondition does not match")
        if not now["metadata"].get("finalizers"):
            return self._remove(kind, name), True
        at = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        marked = {**now, "metadata": now["metadata"] | {"deletionTimestamp": at}}
        return self._store(kind, name, "MODIFIED", marked), False

    def read(self, kind: Served, name: Name) -> Document:
        """The document of that name."""
        if name not in self.of(kind.plural):
            raise RefusalError(404, "NotFound", f'{kind.plural} "{name[1]}" not found')
        return self.of(kind.plural)[name]

    def since(self, plural: str, version: int) -> Iterator[Change]:
        """The changes of a kind after *version*."""
        if version < self.oldest:
            raise RefusalError(410, "Expired", f"too old resource version: {version} ({self.oldest})")
        return (
            change for change in list(self.history) if change.plural == plural and change.version > version
        )

    def compact(self) -> None:
        """Forget the history."""
        self.oldest = self.revision
        self.history.clear()

    def orphans(self) -> list[tuple[str, Name]]:
        """The documents whose owners have all gone."""
        uids = {
            each["metadata"]["uid"] for documents in self.documents.values() for each in documents.values()
        }
        return [
            (plural, name)
            for plural, documents in self.documents.items()
            for name, document in documents.items()
            if (owners := document["metadata"].get("ownerReferences"))
            and not any(owner["uid"] in uids for owner in owners)
        ]

    def _store(self, kind: Served, name: Name, type_: str, document: Document) -> Document:
        before = self.of(kind.plural).get(name)
        stored = self._versioned(kind.prune(document))
        self.of(kind.plural)[name] = stored
        self._tell(Change(self.revision, kind.plural, type_, stored, before))
        return stored

    def _remove(self, kind: Served, name: Name) -> Document:
        before = self.of(kind.plural).pop(name)
        gone = self._versioned(before)
        self._tell(Change(self.revision, kind.plural, "DELETED", gone, before))
        return gone

    def _versioned(self, document: Document) -> Document:
        self.revision += 1
        return {**document, "metadata": document["metadata"] | {"resourceVersion": str(self.revision)}}

    def _tell(self, change: Change) -> None:
        self.history.append(change)
        for listener in list(self.listeners):
            listener(change)


def _check(kind: Served, now: Document, wanted: Document, *, status: bool) -> None:
    """Refuse what was made of another object or of an older version.

    As kube-apiserver does: in a status, the UID is not looked at.
    """
    metadata = wanted.get("metadata", {})
    if not status and metadata.get("uid", now["metadata"]["uid"]) != now["metadata"]["uid"]:
        message = "metadata.uid: Invalid value: field is immutable"
        cause = {"reason": "FieldValueInvalid", "message": message, "field": "metadata.uid"}
        raise RefusalError(422, "Invalid", message, (cause,))
    version = now["metadata"]["resourceVersion"]
    if metadata.get("resourceVersion") not in {None, "", version}:
        raise RefusalError(409, "Conflict", f"the object {kind.plural} has been modified")


def _tagged(now: Document, wanted: Document) -> dict[str, Any]:
    free = ("labels", "annotations", "ownerReferences", "finalizers")
    kept = {key: value for key, value in now.items() if key not in free}
    return kept | {key: wanted[key] for key in free if wanted.get(key)}


def _content(document: Document) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in {"metadata", "status"}}
