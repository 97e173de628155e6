"""Reads one pod as it is stored now, by a list: who may list pods need not be granted to get them, too."""

from daemon.kube.client import ApiClient
from daemon.kube.resources import WHOLE_PODS
from daemon.kube.selections import only
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key


async def read_pod(client: ApiClient, key: Key) -> LocalPod | None:
    """The pod with all its fields; None when there is none of that name. Raises ApiError."""
    found = await client.list(WHOLE_PODS, only(key.name, key.namespace))
    return next(iter(found.objects), None)
