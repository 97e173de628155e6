"""Every name of the wire contract: API groups, annotations, labels, conditions and shared constants."""

from typing import Final

PROGRAM: Final = "inplaced"
KRUISE_GROUP: Final = "apps.kruise.io"
KRUISE_VERSIONS: Final = ("v1beta1", "v1alpha1")
"""Served versions, the stored one first."""
KRUISE_API: Final = f"{KRUISE_GROUP}/{KRUISE_VERSIONS[0]}"

PREFIX: Final = "inplaced.dev/"
"""Prefix of our own annotations, labels and conditions."""
PRIORITY_ANNOTATION: Final = f"{PREFIX}priority"
"""Integer on an ImagePullJob: higher pulls first on a node."""
PULLED_BY_ANNOTATION: Final = "apps.kruise.io/pulling-image-by"
"""On the CRI sandbox config of a pull, so that runtimes and mirrors can tell our pulls."""

RESTART_ANNOTATION: Final = f"{PREFIX}restart-on-metadata-change"
"""On any pod, "true": restart containers whose env or command drifted from the labels and annotations."""
RESOURCES_ANNOTATION: Final = f"{PREFIX}resources"
"""On a pod: the resources that its containers should have, and what to do when they do not fit."""
NEXT_REVISION_ANNOTATION: Final = f"{PREFIX}next-revision"
"""On a pod: what it becomes next, so that its node prepares it."""
PLANNED_RESTARTS_ANNOTATION: Final = f"{PREFIX}planned-restarts"
"""On a pod: by container, how many restarts were asked for; all others are crashes."""
COUNTED_STOPS_ANNOTATION: Final = f"{PREFIX}planned-restarts-counted"
"""Beside it: by container, the ID of the one whose stop was counted last, so that none is counted twice."""
RUNNING_ANNOTATION: Final = f"{PREFIX}running-containers"
"""On a pod: what its containers run with, told by the agent."""
KRUISE_META_ANNOTATION: Final = "apps.kruise.io/runtime-containers-meta"
"""On pods of OpenKruise's kinds: hashes of what their containers run with, read by its manager."""
RESIZE_RECORD_ANNOTATION: Final = f"{PREFIX}resize-record"
"""On a pod: what its agent must know of a resize after a restart of its own."""
CONTAINERS_IN_SYNC: Final = f"{PREFIX}ContainersInSync"
RESOURCES_IN_SYNC: Final = f"{PREFIX}ResourcesInSync"
NEXT_REVISION_READY: Final = f"{PREFIX}NextRevisionReady"
"""The conditions that the agent writes on pods of its node."""
IN_PLACE_UPDATE_READY: Final = "InPlaceUpdateReady"
"""OpenKruise's readiness gate and condition: False while a pod changes in place."""
STATE_ANNOTATION: Final = f"{KRUISE_GROUP}/inplace-update-state"
GRACE_ANNOTATION: Final = f"{KRUISE_GROUP}/inplace-update-grace"
OLD_STATE_ANNOTATION: Final = "inplace-update-state"
OLD_GRACE_ANNOTATION: Final = "inplace-update-grace"
"""On a pod: how far its update is, and what waits for the end of its grace period; also by old keys."""
RESTART_COUNTS_ANNOTATION: Final = f"{KRUISE_GROUP}/restart-count-before-last-update"
POD_RESTART_COUNT_ANNOTATION: Final = f"{KRUISE_GROUP}/pod-restart-count-before-last-update"
"""On a pod: how often its containers, and all together, had restarted when an update in place began."""

KRUISE_POD_READY: Final = "KruisePodReady"
"""OpenKruise's other readiness gate: True while nobody wants the pod out of traffic."""
PRE_RECREATE_GRACE: Final = "PreRecreateGrace"
"""On a ContainerRecreateRequest: since when its pod is out of traffic."""
RECREATE_POD_LABEL: Final = f"crr.{KRUISE_GROUP}/pod-uid"
RECREATE_NODE_LABEL: Final = f"crr.{KRUISE_GROUP}/node-name"
RECREATE_ACTIVE_LABEL: Final = f"crr.{KRUISE_GROUP}/active"
"""On a ContainerRecreateRequest; the last one is written by OpenKruise's webhook alone."""
UNREADY_ACQUIRED: Final = f"crr.{KRUISE_GROUP}/unready-acquired"
"""Finalizer of a request that holds a pod out of traffic; in v1alpha1 an annotation with the time, too."""

BARRIER_VARIABLE: Final = "KRUISE_CONTAINER_BARRIER"
"""Environment variable of a container that starts when its turn in the pod's launch order has come."""
PRIORITY_VARIABLE: Final = "KRUISE_CONTAINER_PRIORITY"
"""Environment variable that gives a container its place in the launch order: higher starts first."""
LAUNCH_GATE_PREFIX: Final = f"{PREFIX}launch-p_"
"""On a pod, followed by a priority, "true": containers of that priority may start."""
LAUNCH_ORDER_ANNOTATION: Final = f"{KRUISE_GROUP}/container-launch-priority"
"""On a pod, "Ordered": containers start one after the other as they are listed."""
LAUNCH_COMPLETED_ANNOTATION: Final = f"{LAUNCH_ORDER_ANNOTATION}-completed"
"""On a pod, "true": all its containers may start."""

TEMPLATE_HASH_LABEL: Final = "controller-revision-hash"
"""On children of an ImageListPullJob: which version of the list made them."""

READY: Final = "Ready"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"
"""The condition types of kstatus."""

PINNED_LABEL: Final = "io.cri-containerd.pinned"
"""containerd's image label that CRI reports as Image.pinned (containerd #6930)."""
PINNED_VALUE: Final = "pinned"
LEASE_PREFIX: Final = "inplaced-pin-"
"""Ids of the containerd leases that hold an image's content."""
PIN_OWNER_LABEL: Final = f"{PREFIX}pin"
"""On images and leases that we pinned, so that we never unpin what somebody else pinned."""

NODE_SECRETS_SUFFIX: Final = "-node-secrets"
"""After the release's namespace: the namespace that holds one sealed Secret a node, named like the node."""
SEALED_TYPE: Final = f"{PREFIX}sealed"
"""Type of those Secrets."""
KRUISE_SECRETS_NAMESPACE: Final = "kruise-daemon-config"
"""Where OpenKruise's manager copies pull secrets to: references to it are read there, as they are."""


FAKE_LABEL: Final = f"{KRUISE_GROUP}/fake-nodeimage"
"""On a NodeImage that has no node and is kept all the same."""
ELECTION_LEASE: Final = f"{PROGRAM}.controller"
"""The Lease of the controllers' leader; no agent's can have that name."""


def lease_name(node: str) -> str:
    """The Lease in the release's namespace in which that node's agent gives signs of life."""
    return f"{PROGRAM}-{node}"


def node_of_lease(lease: str) -> str:
    """The node whose agent has that Lease; empty when it is no agent's."""
    prefix = lease_name("")
    return lease.removeprefix(prefix) if lease.startswith(prefix) else ""
