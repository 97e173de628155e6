"""The Prometheus series of one process, in a registry of its own: tests share nothing."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

_PULL_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_CALL_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300)
_WAIT_SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600)

PULL_REASONS = (
    "ImageNotFound",
    "Unauthorized",
    "Denied",
    "RateLimited",
    "RegistryUnreachable",
    "TlsFailure",
    "NoSpace",
    "WrongPlatform",
    "InvalidReference",
    "TimedOut",
    "RuntimeDown",
    "DeadlineExceeded",
    "PullFailed",
    "NotFound",
    "Unsupported",
    "CallFailed",
)
"""Every reason a failed attempt can have, the look before it included: the label set starts at 0."""

RESIZE_OUTCOMES = (
    "InSync",
    "Resizing",
    "Deferred",
    "Infeasible",
    "UnsafeDecrease",
    "Error",
    "RolledBack",
    "Unsupported",
)
"""The reasons of the condition ResourcesInSync."""


class Metrics:
    """All series, made at start so that a dashboard shows them before the first event."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._engine()
        self._pulling()
        self._resizing()
        self._runtime()
        self._restarting()
        self._in_place()
        self._api()
        self._workloads()

    def _workloads(self) -> None:
        self.pod_updates = Counter(
            "inplaced_pod_updates_total",
            "Pods of workloads brought to another revision, by how (InPlace, ReCreate).",
            ["how"],
            registry=self.registry,
        )
        for how in ("InPlace", "ReCreate"):
            self.pod_updates.labels(how)
        self.pod_update_steps = Histogram(
            "inplaced_pod_update_step_duration_seconds",
            "How long updates in place were at each step (Begin, Preparing, GracePeriod, Restarting …).",
            ["step"],
            buckets=_PULL_SECONDS,
            registry=self.registry,
        )

    def _engine(self) -> None:
        self.reconciles = Counter(
            "inplaced_reconciles_total",
            "Reconciliations by controller and result (ok, conflict, refused, error).",
            ["controller", "result"],
            registry=self.registry,
        )
        self.reconcile_seconds = Histogram(
            "inplaced_reconcile_seconds",
            "How long one reconciliation took.",
            ["controller"],
            buckets=_CALL_SECONDS,
            registry=self.registry,
        )

    def _pulling(self) -> None:
        self.pulls = Counter(
            "inplaced_pulls_total",
            "Pull attempts by result (pulled, present, failed, cancelled) and reason of a failure.",
            ["result", "reason"],
            registry=self.registry,
        )
        for result in ("pulled", "present", "cancelled"):
            self.pulls.labels(result, "")
        for reason in PULL_REASONS:
            self.pulls.labels("failed", reason)
        self.pull_seconds = Histogram(
            "inplaced_pull_duration_seconds",
            "Duration of successful pulls that fetched something.",
            buckets=_PULL_SECONDS,
            registry=self.registry,
        )
        self.pull_wait_seconds = Histogram(
            "inplaced_pull_queue_wait_seconds",
            "From the request to the start of its first attempt.",
            buckets=_WAIT_SECONDS,
            registry=self.registry,
        )
        self.pull_retries = Counter(
            "inplaced_pull_retries_total", "Attempts after the first.", registry=self.registry
        )
        self.bytes_fetched = Counter(
            "inplaced_pull_fetched_bytes_total", "Compressed bytes fetched by pulls.", registry=self.registry
        )
        self.bytes_reused = Counter(
            "inplaced_pull_reused_bytes_total",
            "Compressed bytes of layers that were on the node already.",
            registry=self.registry,
        )
        self.pulls_waiting = Gauge(
            "inplaced_pulls_waiting", "Wanted images that wait for a worker.", registry=self.registry
        )
        self.pulls_running = Gauge("inplaced_pulls_running", "Pulls in progress.", registry=self.registry)
        self.images_pinned = Gauge(
            "inplaced_images_pinned", "Images protected against garbage collection.", registry=self.registry
        )

    def _restarting(self) -> None:
        self.unplanned_restarts = Gauge(
            "inplaced_container_unplanned_restarts",
            "Restarts of a container that nobody asked for: its restartCount less the planned ones.",
            ["namespace", "pod", "container"],
            registry=self.registry,
        )

        self.recreate_requests = Counter(
            "inplaced_recreate_requests_total",
            "ContainerRecreateRequests that this process ended, by reason; Recreated is the good one.",
            ["reason"],
            registry=self.registry,
        )
        self.recreate_requests.labels("Recreated")

    def _resizing(self) -> None:
        self.resizes = Counter(
            "inplaced_resizes_total",
            "Resizes of pods by what became of them; a resize that waits and then ends is counted as both.",
            ["outcome"],
            registry=self.registry,
        )
        for outcome in RESIZE_OUTCOMES:
            self.resizes.labels(outcome)
        self.resize_seconds = Histogram(
            "inplaced_resize_duration_seconds",
            "From seeing the wish to kubelet and runtime having it.",
            buckets=_WAIT_SECONDS,
            registry=self.registry,
        )
        self.resizes_deferred = Gauge(
            "inplaced_resizes_deferred", "Resizes that wait for room on the node.", registry=self.registry
        )

    def _runtime(self) -> None:
        self.cri_calls = Histogram(
            "inplaced_cri_call_duration_seconds",
            "Latency of calls to the container runtime by method and gRPC code.",
            ["method", "code"],
            buckets=_CALL_SECONDS,
            registry=self.registry,
        )
        self.leading = Gauge(
            "inplaced_leading", "1 while this controller leads and works, else 0.", registry=self.registry
        )
        self.runtime_ready = Gauge(
            "inplaced_runtime_ready",
            "1 when the runtime answers and is ready.",
            ["runtime"],
            registry=self.registry,
        )
        self.disk_free = Gauge(
            "inplaced_image_filesystem_free_bytes",
            "Free bytes of the file system that holds the images.",
            registry=self.registry,
        )
        self.disk_available = Gauge(
            "inplaced_image_filesystem_available_bytes",
            "Free bytes less the reserve: what pulls may use.",
            registry=self.registry,
        )
        self.refused_documents = Gauge(
            "inplaced_refused_documents", "Manifest documents that are invalid now.", registry=self.registry
        )

    def _in_place(self) -> None:
        self.inplace_steps = Counter(
            "inplaced_pod_update_writes_total",
            "Writes to pods that change in place, by step (TakeOut, Grace, Change, Tell, GiveBack, Leave).",
            ["step"],
            registry=self.registry,
        )
        for step in ("TakeOut", "Grace", "Change", "Tell", "GiveBack", "Leave"):
            self.inplace_steps.labels(step)
        self.inplace_seconds = Histogram(
            "inplaced_pod_update_duration_seconds",
            "From the change of a pod to its verified end, grace period included.",
            buckets=_WAIT_SECONDS,
            registry=self.registry,
        )

    def _api(self) -> None:
        self.api_requests = Counter(
            "inplaced_api_requests_total",
            "Requests to the API server by verb, resource and HTTP status (none when no answer came).",
            ["verb", "resource", "code"],
            registry=self.registry,
        )
        self.api_request_seconds = Histogram(
            "inplaced_api_request_duration_seconds",
            "How long requests to the API server took, watches left out.",
            ["verb"],
            buckets=_CALL_SECONDS,
            registry=self.registry,
        )
        self.api_bytes = Counter(
            "inplaced_api_transferred_bytes_total",
            "Bytes of bodies exchanged with the API server by direction (sent, received).",
            ["direction"],
            registry=self.registry,
        )
        for direction in ("sent", "received"):
            self.api_bytes.labels(direction)
        self.watch_restarts = Counter(
            "inplaced_watch_restarts_total",
            "Watches begun anew by resource and reason (ended, failed, expired, stale).",
            ["resource", "reason"],
            registry=self.registry,
        )
        self.events_dropped = Counter(
            "inplaced_events_dropped_total",
            "Events about objects that were not written, by reason (failed, full).",
            ["reason"],
            registry=self.registry,
        )
        for reason in ("failed", "full"):
            self.events_dropped.labels(reason)

    def tell_restarts(self, namespace: str, pod: str, container: str, count: int) -> None:
        """Show how often a container restarted although nobody asked for it."""
        self.unplanned_restarts.labels(namespace, pod, container).set(count)

    def forget_restarts(self, namespace: str, pod: str) -> None:
        """Show nothing of a pod any more."""
        self.unplanned_restarts.remove_by_labels({"namespace": namespace, "pod": pod})

    def observe_request(self, verb: str, resource: str, code: str, seconds: float) -> None:
        """Count one request to the API server."""
        self.api_requests.labels(verb, resource, code).inc()
        if verb != "watch":
            self.api_request_seconds.labels(verb).observe(seconds)

    def observe_call(self, method: str, code: str, seconds: float) -> None:
        """Count one call to the runtime."""
        self.cri_calls.labels(method, code).observe(seconds)

    def exposition(self) -> bytes:
        """All series in the Prometheus text format."""
        return generate_latest(self.registry)
