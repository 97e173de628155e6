"""CloneSets with what is wrong with them, and the ways to write a right one."""

from collections.abc import Mapping
from typing import Any, Final

from tests.charts.manifests import Wrong

LABELS: Final = {"app": "web"}
POD: Final[Mapping[str, Any]] = {"containers": [{"name": "app", "image": "nginx:1"}]}
SPEC: Final[Mapping[str, Any]] = {
    "selector": {"matchLabels": LABELS},
    "template": {"metadata": {"labels": LABELS}, "spec": POD},
}
"""The least that a CloneSet says."""


def spec(**parts: Any) -> dict[str, Any]:
    """The spec of a CloneSet with these parts."""
    return {**SPEC, **parts}


def pod(**parts: Any) -> dict[str, Any]:
    """The spec of one whose pods have these parts."""
    return spec(template={"metadata": {"labels": LABELS}, "spec": {**POD, **parts}})


def update(**parts: Any) -> dict[str, Any]:
    """The spec of one with this updateStrategy."""
    return spec(updateStrategy=parts)


def rolling(**parts: Any) -> dict[str, Any]:
    """The same, as v1beta1 has it."""
    return update(type="RollingUpdate", rollingUpdate=parts)


def scaling(**parts: Any) -> dict[str, Any]:
    """The spec of one with this scaleStrategy."""
    return spec(scaleStrategy=parts)


def _share(write: Any, at: str, field: str) -> dict[str, Wrong]:
    return {
        f"{at}{field} {value}": Wrong(write(**{field: value}), f"spec.{at}{field}", "0% to 100%")
        for value in (-1, "101%", "-1%", "5")
    }


_ONE: Final = {"weightPriority": [{"weight": 1}], "orderPriority": [{"orderedKey": "a"}]}
CLAIM: Final[Mapping[str, Any]] = {
    "metadata": {"name": "data"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
_SELECTED: Final = "do not match spec.selector"
_UPDATE: Final = "updateStrategy."
_ROLLING: Final = "updateStrategy.rollingUpdate."

WRONG_SETS: Final[Mapping[str, Wrong]] = {
    "no selector": Wrong({"template": SPEC["template"]}, "spec.selector", "Required value"),
    "no template": Wrong({"selector": SPEC["selector"]}, "spec.template", "Required value"),
    "an empty selector": Wrong(spec(selector={}), "spec.selector", "is empty"),
    "a selector of other labels": Wrong(
        spec(selector={"matchLabels": {"app": "db"}}), "spec.template.metadata.labels", _SELECTED
    ),
    "a selector of more labels": Wrong(
        spec(selector={"matchLabels": {**LABELS, "a": "b"}}), "spec.template.metadata.labels", _SELECTED
    ),
    "a template without labels": Wrong(
        spec(template={"spec": POD}), "spec.template.metadata.labels", _SELECTED
    ),
    "an expression that is not met": Wrong(
        spec(selector={"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}),
        "spec.template.metadata.labels",
        _SELECTED,
    ),
    "a negative number of pods": Wrong(spec(replicas=-1), "spec.replicas", "greater than or equal to 0"),
    "no containers": Wrong(pod(containers=[]), "spec.template.spec.containers", "at least 1 items"),
    "a container without a name": Wrong(
        pod(containers=[{"image": "a"}]), "spec.template.spec.containers[0].name", "Required value"
    ),
    "another restartPolicy": Wrong(
        pod(restartPolicy="Never"), "spec.template.spec.restartPolicy", "allowed: Always"
    ),
    "activeDeadlineSeconds": Wrong(
        pod(activeDeadlineSeconds=5), "spec.template.spec.activeDeadlineSeconds", "is not possible here"
    ),
    "an unknown type": Wrong(update(type="Canary"), "spec.updateStrategy.type", "Unsupported value"),
    "an unknown policy": Wrong(
        rolling(podUpdatePolicy="Canary"), "spec.updateStrategy.rollingUpdate.podUpdatePolicy", "Unsupported"
    ),
    "rollingUpdate of OnDelete": Wrong(
        update(type="OnDelete", rollingUpdate={}),
        "spec.updateStrategy.rollingUpdate",
        "allowed: type Rolling",
    ),
    "rollingUpdate of the older type": Wrong(
        update(type="InPlaceOnly", rollingUpdate={}), "spec.updateStrategy.rollingUpdate", "allowed: type"
    ),
    "parameters in both places": Wrong(
        update(partition=1, rollingUpdate={}), "spec.updateStrategy.rollingUpdate", "all of them in one place"
    ),
    "surge of InPlaceOnly": Wrong(
        update(type="InPlaceOnly", maxSurge=1), "spec.updateStrategy.maxSurge", "does not go with InPlaceOnly"
    ),
    "surge of InPlaceOnly in rollingUpdate": Wrong(
        rolling(podUpdatePolicy="InPlaceOnly", maxSurge="10%"),
        "spec.updateStrategy.rollingUpdate.maxSurge",
        "does not go with InPlaceOnly",
    ),
    "no pod may change": Wrong(
        update(maxUnavailable=0), "spec.updateStrategy.maxUnavailable", "no pod could ever change"
    ),
    "no pod may change, in percent": Wrong(
        rolling(maxUnavailable="0%", maxSurge=0),
        "spec.updateStrategy.rollingUpdate.maxUnavailable",
        "no pod could ever change",
    ),
    "two kinds of priority": Wrong(
        update(priorityStrategy=_ONE), "spec.updateStrategy.priorityStrategy.orderPriority", "one of the two"
    ),
    "a weight above 100": Wrong(
        update(priorityStrategy={"weightPriority": [{"weight": 101}]}),
        "spec.updateStrategy.priorityStrategy.weightPriority[0].weight",
        "less than or equal to 100",
    ),
    "an order without a label": Wrong(
        update(priorityStrategy={"orderPriority": [{"orderedKey": ""}]}),
        "spec.updateStrategy.priorityStrategy.orderPriority[0].orderedKey",
        "at least 1 chars",
    ),
    "a scatter without a label": Wrong(
        update(scatterStrategy=[{"key": "", "value": "a"}]),
        "spec.updateStrategy.scatterStrategy[0].key",
        "at least 1 chars",
    ),
    "a negative grace": Wrong(
        update(inPlaceUpdateStrategy={"gracePeriodSeconds": -1}),
        "spec.updateStrategy.inPlaceUpdateStrategy.gracePeriodSeconds",
        "greater than or equal to 0",
    ),
    "pre-download in percent": Wrong(
        rolling(inPlaceUpdateStrategy={"imagePreDownloadParallelism": "10%"}),
        "spec.updateStrategy.rollingUpdate.inPlaceUpdateStrategy.imagePreDownloadParallelism",
        "must be of type integer",
    ),
    "another policy than those of resizes": Wrong(
        update(inPlaceUpdateStrategy={"onInfeasible": "Retry"}),
        "spec.updateStrategy.inPlaceUpdateStrategy.onInfeasible",
        'supported values: "Wait", "Rollback", "Recreate"',
    ),
    "a new pod for one that is put off": Wrong(
        rolling(inPlaceUpdateStrategy={"onDeferred": "Recreate"}),
        "spec.updateStrategy.rollingUpdate.inPlaceUpdateStrategy.onDeferred",
        'supported values: "Wait", "Rollback"',
    ),
    "no time to be put off": Wrong(
        update(inPlaceUpdateStrategy={"resizeDeadlineSeconds": 0}),
        "spec.updateStrategy.inPlaceUpdateStrategy.resizeDeadlineSeconds",
        "greater than or equal to 1",
    ),
    "both spellings of the strategy": Wrong(
        update(inPlaceUpdateStrategy={}, inplaceUpdateStrategy={}),
        "spec.updateStrategy.inplaceUpdateStrategy",
        "one of the two",
    ),
    "both spellings of the hook": Wrong(
        spec(lifecycle={"inPlaceUpdate": {}, "inplaceUpdate": {}}),
        "spec.lifecycle.inplaceUpdate",
        "one of the two",
    ),
    "a deadline below minReadySeconds": Wrong(
        spec(minReadySeconds=10, progressDeadlineSeconds=10),
        "spec.progressDeadlineSeconds",
        "is not above minReadySeconds",
    ),
    "a pod named twice": Wrong(
        spec(scaleStrategy={"podsToDelete": ["a", "a"]}),
        "spec.scaleStrategy.podsToDelete[1]",
        'Duplicate value: "a"',
    ),
    "a claim without a name": Wrong(
        spec(volumeClaimTemplates=[{**CLAIM, "metadata": {}}]),
        "spec.volumeClaimTemplates[0].metadata.name",
        "Required value",
    ),
    "a claim twice": Wrong(
        spec(volumeClaimTemplates=[CLAIM, CLAIM]), "spec.volumeClaimTemplates", "has a name twice"
    ),
    **_share(update, _UPDATE, "partition"),
    **_share(update, _UPDATE, "maxSurge"),
    **_share(rolling, _ROLLING, "maxUnavailable"),
    **_share(scaling, "scaleStrategy.", "maxUnavailable"),
}

RIGHT_SETS: Final[Mapping[str, Mapping[str, Any]]] = {
    "the least": SPEC,
    "v1alpha1": update(
        type="InPlaceIfPossible",
        partition="30%",
        maxUnavailable="20%",
        maxSurge=1,
        paused=True,
        priorityStrategy={"weightPriority": [{"weight": 50, "matchSelector": {"matchLabels": LABELS}}]},
        scatterStrategy=[{"key": "a", "value": "b"}],
        inPlaceUpdateStrategy={"gracePeriodSeconds": 10},
    ),
    "v1beta1": rolling(
        podUpdatePolicy="InPlaceIfPossible",
        partition=3,
        maxUnavailable=0,
        maxSurge="10%",
        priorityStrategy={"orderPriority": [{"orderedKey": "zone"}]},
        inPlaceUpdateStrategy={
            "imagePreDownloadParallelism": 2,
            "imagePreDownloadTimeoutSeconds": 60,
            "onInfeasible": "Recreate",
            "onDeferred": "Rollback",
            "resizeDeadlineSeconds": 60,
        },
    ),
    "OnDelete": update(type="OnDelete"),
    "surge alone": update(maxUnavailable=0, maxSurge=1),
    "an old spelling": update(type="InPlaceIfPossible", inplaceUpdateStrategy={"gracePeriodSeconds": 10}),
    "a selector of expressions": spec(
        selector={
            "matchExpressions": [
                {"key": "app", "operator": "In", "values": ["web", "www"]},
                {"key": "gone", "operator": "DoesNotExist"},
            ]
        }
    ),
    "whatever a pod has": pod(
        restartPolicy="Always",
        volumes=[{"name": "v", "emptyDir": {}}],
        terminationGracePeriodSeconds=0,
        tolerations=[{"operator": "Exists"}],
    ),
    "claims": spec(volumeClaimTemplates=[CLAIM], scaleStrategy={"disablePVCReuse": True}),
    "hooks": spec(
        lifecycle={
            "preDelete": {"finalizersHandler": ["example.io/unready-blocker"]},
            "inPlaceUpdate": {"labelsHandler": {"a": "b"}, "markPodNotReady": True},
            "preNormal": {"finalizersHandler": ["example.io/unready-blocker"]},
        }
    ),
    "scaling": spec(
        replicas=0,
        minReadySeconds=5,
        progressDeadlineSeconds=600,
        revisionHistoryLimit=0,
        scaleStrategy={
            "podsToDelete": ["web-abcde"],
            "maxUnavailable": "50%",
            "excludePreparingDelete": True,
        },
    ),
}
