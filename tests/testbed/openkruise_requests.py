"""OpenKruise's own definition of ContainerRecreateRequest: ours without what it does not have."""

import copy
from typing import Any

from daemon import names
from tests.charts.rendering import the
from tests.testbed.api import Api, RefusedError

PLURAL = "containerrecreaterequests"
REQUESTS = f"/apis/{names.KRUISE_API}/namespaces/default/{PLURAL}"
OURS = ("podUID", "nodeName", "observedGeneration")


def definition_of_ours() -> dict[str, Any]:
    """The kind as the chart defines it."""
    return copy.deepcopy(dict(the("CustomResourceDefinition", f"{PLURAL}.{names.KRUISE_GROUP}")))


def definition_of_openkruise() -> dict[str, Any]:
    """The kind without rules, selectable fields, and fields of our own."""
    definition = definition_of_ours()
    for version in definition["spec"]["versions"]:
        del version["selectableFields"]
        root = version["schema"]["openAPIV3Schema"]["properties"]
        _without_rules(root)
        status = root["status"]["properties"]
        for field in OURS:
            del status[field]
        del status["containerRecreateStates"]["items"]["properties"]["containerID"]
        status["containerRecreateStates"]["items"]["required"] = ["name", "phase"]
        root["status"]["required"] = ["phase"]
    return definition


def _without_rules(part: Any) -> None:
    if isinstance(part, dict):
        part.pop("x-kubernetes-validations", None)
        for each in part.values():
            _without_rules(each)


async def labels_alone(api: Api) -> bool:
    """Whether the API server has taken the definition: it selects by our field no more."""
    try:
        await api.get(f"{REQUESTS}?fieldSelector=status.nodeName=a")
    except RefusedError as error:
        return "field label not supported" in error.message
    return False
