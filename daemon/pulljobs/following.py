"""Where the pods are whose nodes jobs follow: a watch for each selector that a running job has."""

from collections import defaultdict
from collections.abc import Callable

from daemon.engine.watches import Copy, Watches
from daemon.objects.images import ImagePullJob
from daemon.objects.meta import Key
from daemon.objects.parts import PodPart
from daemon.objects.pods import Pod
from daemon.pulljobs.pods import followed_by
from daemon.pulljobs.shares import Followed


class Following:
    """The pods of jobs; *on_change* is called with a job whose pods changed."""

    def __init__(self, open_: Callable[[PodPart], Copy[Pod]], on_change: Callable[[Key], None]) -> None:
        self.watches: Watches[PodPart, Pod] = Watches(open_, self._on_change)
        self._on_job = on_change
        self._jobs: defaultdict[PodPart, set[Key]] = defaultdict(set)
        self._parts: dict[Key, PodPart] = {}
        self._found: dict[PodPart, Followed] = {}

    def followed(self, job: ImagePullJob) -> Followed | None:
        """Where the job's pods are now; None when that is not known yet."""
        assert job.spec.pod_selector is not None
        key, part = job.metadata.key, PodPart(job.metadata.namespace, job.spec.pod_selector)
        if self._parts.get(key) != part:
            self.forget(key)
            self._parts[key] = part
            self._jobs[part].add(key)
        if part not in self._found:
            pods = self.watches.objects(part)
            if pods is None:
                return None
            self._found[part] = followed_by(pods)
        return self._found[part]

    def forget(self, key: Key) -> None:
        """The job follows nothing any more."""
        part = self._parts.pop(key, None)
        if part is None:
            return
        self._jobs[part].discard(key)
        if not self._jobs[part]:
            del self._jobs[part]
            self._found.pop(part, None)
            self.watches.keep_only(self._jobs.keys())

    def _on_change(self, part: PodPart) -> None:
        self._found.pop(part, None)
        for key in self._jobs.get(part, ()):
            self._on_job(key)
