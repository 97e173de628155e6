"""What ``pull --direct`` wants, as the node's half reads it: one NodeImage that lives in memory."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from daemon.debug.sources import PullRequest
from daemon.engine.objects import Listener, NotFoundError
from daemon.objects.images import (
    ImageEntry,
    ImageTag,
    NodeImage,
    NodeImageSpec,
    Secret,
    SecretReference,
    TagPullPolicy,
)
from daemon.objects.meta import Key, ObjectMeta
from daemon.objects.references import parse


class OneNodeImage:
    """The node's object, which only its own status changes."""

    def __init__(self, held: NodeImage) -> None:
        self._held = held
        self._listeners: list[Listener] = []

    def get(self, key: Key) -> NodeImage | None:
        """The object, by its name."""
        return self._held if key == self._held.metadata.key else None

    def list(self) -> Sequence[NodeImage]:
        """The one object."""
        return (self._held,)

    def subscribe(self, listener: Listener) -> None:
        """Have *listener* called when the status changes."""
        self._listeners.append(listener)

    async def replace_status(self, obj: NodeImage) -> NodeImage:
        """Take another status."""
        self._held = msgspec.structs.replace(self._held, status=obj.status)
        for listener in self._listeners:
            listener(self._held.metadata.key)
        return self._held

    async def create(self, obj: NodeImage) -> NodeImage:
        """Never asked for."""
        raise NotFoundError(f"{obj.metadata.name}: nothing is stored here")

    async def replace(self, obj: NodeImage) -> NodeImage:
        """Never asked for."""
        raise NotFoundError(f"{obj.metadata.name}: nothing is stored here")

    async def delete(self, obj: NodeImage) -> None:
        """Never asked for."""
        raise NotFoundError(f"{obj.metadata.name}: nothing is stored here")


def wanted_on(node: str, request: PullRequest, secret: Secret | None, now: datetime) -> NodeImage:
    """The NodeImage of *node* that wants what the request asks for. Its references are valid."""
    by_name: dict[str, dict[str, ImageTag]] = {}
    for text in request.images:
        ref = parse(text)
        by_name.setdefault(ref.familiar_name, {})[ref.version] = _tag(ref.version, request, now)
    secrets = (_reference(secret),) if secret is not None else ()
    entries = {
        name: ImageEntry(pull_secrets=secrets, tags=tuple(tags.values())) for name, tags in by_name.items()
    }
    return NodeImage(metadata=ObjectMeta(name=node), spec=NodeImageSpec(images=entries))


def _tag(tag: str, request: PullRequest, now: datetime) -> ImageTag:
    return ImageTag(
        tag=tag,
        created_at=now,
        pull_policy=TagPullPolicy(
            timeout_seconds=request.timeout_seconds,
            backoff_limit=request.backoff_limit,
            active_deadline_seconds=request.active_deadline_seconds,
        ),
        image_pull_policy=request.image_pull_policy,
        priority=request.priority,
    )


def _reference(secret: Secret) -> SecretReference:
    return SecretReference(namespace=secret.metadata.namespace, name=secret.metadata.name)
