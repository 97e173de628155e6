"""The pods of running restarts: a watch for each part of the cluster that one of them is about."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from daemon.engine.watches import Copy, Watches
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key
from daemon.objects.parts import PodPart


class Following:
    """Pods by restart; *on_change* is called with a restart whose pods changed."""

    def __init__(self, open_: Callable[[PodPart], Copy[LocalPod]], on_change: Callable[[Key], None]) -> None:
        self.watches: Watches[PodPart, LocalPod] = Watches(open_, self._on_change)
        self._on_restart = on_change
        self._parts: dict[Key, PodPart] = {}
        self._restarts: defaultdict[PodPart, set[Key]] = defaultdict(set)

    def pods(self, key: Key, part: PodPart) -> Sequence[LocalPod] | None:
        """The pods of *part* for that restart; None when they are not known yet."""
        if self._parts.get(key) != part:
            self.forget(key)
            self._parts[key] = part
            self._restarts[part].add(key)
        return self.watches.objects(part)

    def forget(self, key: Key) -> None:
        """The restart needs no pods any more."""
        part = self._parts.pop(key, None)
        if part is None:
            return
        self._restarts[part].discard(key)
        if not self._restarts[part]:
            del self._restarts[part]
            self.watches.keep_only(self._restarts.keys())

    def in_namespace(self, namespace: str) -> list[Key]:
        """The restarts there that follow pods."""
        return [key for key in self._parts if key.namespace == namespace]

    def _on_change(self, part: PodPart) -> None:
        for key in tuple(self._restarts.get(part, ())):
            self._on_restart(key)
