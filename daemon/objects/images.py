"""The kinds of image pre-download: ImagePullJob, ImageListPullJob, NodeImage; and Secret.

The wire formats are OpenKruise's, both served versions being alike in what is read here. ``conditions`` and
``observedGeneration`` in the status of jobs are our additions.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, field

from daemon import names
from daemon.objects.meta import Condition, LabelSelector, ObjectMeta, OwnerReference, Wire

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
PositiveInt32 = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
PullRule = Literal["IfNotPresent", "Always"]
Phase = Literal["Waiting", "Pulling", "Succeeded", "Failed"]

DEFAULT_TIMEOUT_SECONDS = 600
DEFAULT_BACKOFF_LIMIT = 3


class PullPolicy(Wire, frozen=True):
    """How one attempt is bounded and how many follow it."""

    timeout_seconds: PositiveInt32 = DEFAULT_TIMEOUT_SECONDS
    backoff_limit: Count = DEFAULT_BACKOFF_LIMIT


class CompletionPolicy(Wire, frozen=True):
    """When a job is over. ``Never`` keeps pulling on nodes that come later."""

    type: Literal["Always", "Never"] = "Always"
    active_deadline_seconds: PositiveInt32 | None = None
    ttl_seconds_after_finished: Count | None = None


class SandboxConfig(Wire, frozen=True):
    """Passed on to the runtime with each pull."""

    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class NodeSelector(LabelSelector, frozen=True):
    """Chooses nodes by name or by label, never both."""

    names: tuple[str, ...] = ()


class ImagePullTemplate(Wire, frozen=True, kw_only=True):
    """What ImagePullJob and ImageListPullJob share."""

    pull_secrets: tuple[str, ...] = ()
    selector: NodeSelector | None = None
    pod_selector: LabelSelector | None = None
    parallelism: int | str | None = None
    pull_policy: PullPolicy = PullPolicy()
    completion_policy: CompletionPolicy = CompletionPolicy()
    sandbox_config: SandboxConfig | None = None
    image_pull_policy: PullRule = "IfNotPresent"


class ImagePullJobSpec(ImagePullTemplate, frozen=True, kw_only=True):
    """One image on many nodes."""

    image: str


class ImageListPullJobSpec(ImagePullTemplate, frozen=True, kw_only=True):
    """Several images on many nodes."""

    images: tuple[str, ...]


class ImagePullJobStatus(Wire, frozen=True, omit_defaults=False):
    """Counts are nodes."""

    start_time: datetime | None = None
    completion_time: datetime | None = None
    desired: int = 0
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    message: str = ""
    failed_nodes: tuple[str, ...] = ()
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class FailedImageStatus(Wire, frozen=True):
    """One image of a list job that did not get everywhere."""

    name: str
    message: str
    image_pull_job: str = ""


class ImageListPullJobStatus(Wire, frozen=True, omit_defaults=False):
    """Counts are images."""

    start_time: datetime | None = None
    completion_time: datetime | None = None
    desired: int = 0
    active: int = 0
    completed: int = 0
    succeeded: int = 0
    failed_image_statuses: tuple[FailedImageStatus, ...] = ()
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class ImagePullJob(Wire, frozen=True):
    """A request to have one image on many nodes."""

    metadata: ObjectMeta
    spec: ImagePullJobSpec
    status: ImagePullJobStatus = ImagePullJobStatus()
    api_version: str = names.KRUISE_API
    kind: str = "ImagePullJob"


class ImageListPullJob(Wire, frozen=True):
    """A request to have several images on many nodes; each image becomes an ImagePullJob."""

    metadata: ObjectMeta
    spec: ImageListPullJobSpec
    status: ImageListPullJobStatus = ImageListPullJobStatus()
    api_version: str = names.KRUISE_API
    kind: str = "ImageListPullJob"


class SecretReference(Wire, frozen=True):
    """Where a pull secret lies."""

    name: str
    namespace: str = ""
    mode: str = ""


class TagPullPolicy(Wire, frozen=True):
    """Bounds of one tag on one node. Fields that are absent have OpenKruise's defaults."""

    timeout_seconds: Int32 | None = None
    backoff_limit: Int32 | None = None
    ttl_seconds_after_finished: Int32 | None = None
    active_deadline_seconds: int | None = None


class ImageTag(Wire, frozen=True):
    """One tag (or digest) of an image that the node should have."""

    tag: str
    created_at: datetime | None = None
    pull_policy: TagPullPolicy | None = None
    owner_references: tuple[OwnerReference, ...] = ()
    version: int = 0
    image_pull_policy: str = ""
    """Empty (written by hand) means IfNotPresent, the schema's default."""
    priority: int = 0
    """Ours: higher pulls first."""


class ImageEntry(Wire, frozen=True):
    """All wanted tags of one repository."""

    pull_secrets: tuple[SecretReference, ...] = ()
    tags: tuple[ImageTag, ...] = ()
    sandbox_config: SandboxConfig | None = None


class NodeImageSpec(Wire, frozen=True):
    """What the node should have, by repository name."""

    images: Mapping[str, ImageEntry] = {}


class ImageTagStatus(Wire, frozen=True, omit_defaults=False):
    """How far one tag is on the node."""

    tag: str
    phase: Phase
    version: int = 0
    progress: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    image_id: str = field(default="", name="imageID")
    message: str = ""
    reason: str = ""
    """Ours: one of the CamelCase reasons of the typed errors, empty when all is well."""
    failures: int = 0
    """Ours: failed attempts so far, so that a restart of the agent does not start counting anew."""


class ImageStatus(Wire, frozen=True):
    """How far one repository is on the node."""

    tags: tuple[ImageTagStatus, ...] = ()


class AgentStatus(Wire, frozen=True):
    """Which agent speaks for the node."""

    version: str = ""
    public_key: str = ""
    """Base64 of the X25519 key that secrets for this node are sealed with; empty without sealed secrets."""


class NodeImageStatus(Wire, frozen=True, omit_defaults=False):
    """What the node says of its images; counts are tags."""

    desired: int = 0
    succeeded: int = 0
    failed: int = 0
    pulling: int = 0
    waiting: int = 0
    image_statuses: Mapping[str, ImageStatus] = {}
    agent: AgentStatus | None = None
    """Ours, as are the next two."""
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class NodeImage(Wire, frozen=True):
    """The images of one node: cluster-scoped, named like the node."""

    metadata: ObjectMeta
    spec: NodeImageSpec = NodeImageSpec()
    status: NodeImageStatus = NodeImageStatus()
    api_version: str = names.KRUISE_API
    kind: str = "NodeImage"


class Secret(Wire, frozen=True):
    """A Secret of docker-config type. ``data`` values are base64 text, ``stringData`` values are plain."""

    metadata: ObjectMeta
    type: str = "Opaque"
    data: Mapping[str, str] = {}
    string_data: Mapping[str, str] = {}
    api_version: str = "v1"
    kind: str = "Secret"

    def __repr__(self) -> str:
        return f"Secret({self.metadata.key}, {self.type})"
