"""Reads one pod as it is stored now."""

from daemon.kube.client import ApiClient
from daemon.kube.errors import MissingError
from daemon.kube.resources import WHOLE_PODS
from daemon.objects.local_pods import LocalPod
from daemon.objects.meta import Key


async def read_pod(client: ApiClient, key: Key) -> LocalPod | None:
    """The pod with all its fields; None when there is none of that name. Raises ApiError.

    A list of the one name would do for who may not get pods, but takes a tenth of a second: the API server
    has its cache catch up first.
    """
    try:
        return await client.get(WHOLE_PODS, key)
    except MissingError:
        return None
