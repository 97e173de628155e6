"""Parts of a cluster that are followed apart from the rest."""

from typing import NamedTuple

from daemon.objects.meta import LabelSelector


class PodPart(NamedTuple):
    """The pods of one namespace that a selector matches."""

    namespace: str
    labels: LabelSelector

    def __hash__(self) -> int:
        return hash((self.namespace, repr(self.labels)))  # its mappings have no hash of their own
