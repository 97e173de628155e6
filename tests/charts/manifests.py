"""Manifests with what is wrong with them: one table for all who judge manifests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from daemon import names
from tests.charts.image_names import REFERENCE

KRUISE: Final = f"{names.KRUISE_GROUP}/{names.KRUISE_VERSIONS[0]}"


@dataclass(frozen=True, slots=True)
class Wrong:
    """A spec that is refused."""

    spec: Mapping[str, Any]
    field: str
    """Where the API server says that it is wrong."""
    words: str
    """What it says, in part."""
    ours: str = ""
    """Where ``daemon.objects`` says so, when it is more exact."""

    @property
    def at(self) -> str:
        """Where ``daemon.objects`` says that it is wrong."""
        return self.ours or self.field


@dataclass(frozen=True, slots=True)
class Written:
    """A document of one kind around a spec."""

    kind: str
    spec: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def document(self, name: str, version: str = KRUISE) -> dict[str, Any]:
        """The manifest."""
        namespace = {} if self.kind == "NodeImage" else {"namespace": "default"}
        metadata = {"name": name, **namespace, **self.metadata}
        return {"apiVersion": version, "kind": self.kind, "metadata": metadata, "spec": self.spec}


LABELS = "is not a valid label value; allowed: empty, or at most 63"
KEY = "is not valid; allowed: a name of at most 63 letters"
NEVER = "Forbidden: does not go with type Never; allowed: type Always"

TEMPLATE: Final[Mapping[str, Wrong]] = {
    "parallelism is negative": Wrong({"parallelism": -1}, "spec.parallelism", "an integer from 0"),
    "parallelism is above 100 %": Wrong({"parallelism": "101%"}, "spec.parallelism", "0% to 100%"),
    "parallelism is below 0 %": Wrong({"parallelism": "-1%"}, "spec.parallelism", "0% to 100%"),
    "parallelism is a part of a percent": Wrong({"parallelism": "1.5%"}, "spec.parallelism", "0% to 100%"),
    "parallelism is a number in quotes": Wrong({"parallelism": "5"}, "spec.parallelism", "0% to 100%"),
    "parallelism is empty": Wrong({"parallelism": ""}, "spec.parallelism", "0% to 100%"),
    "parallelism is broken": Wrong({"parallelism": 1.5}, "spec.parallelism", "must be of type integer"),
    "parallelism is a list": Wrong({"parallelism": [1]}, "spec.parallelism", "must be of type integer"),
    "names beside labels": Wrong(
        {"selector": {"names": ["a"], "matchLabels": {"b": "c"}}},
        "spec.selector.names",
        "Forbidden: is there beside labels; allowed: names or labels, not both",
    ),
    "names beside expressions": Wrong(
        {"selector": {"names": ["a"], "matchExpressions": [{"key": "a", "operator": "Exists"}]}},
        "spec.selector.names",
        "Forbidden: is there beside labels",
    ),
    "a node named twice": Wrong(
        {"selector": {"names": ["a", "b", "a"]}}, "spec.selector.names[2]", 'Duplicate value: "a"'
    ),
    "both selectors": Wrong(
        {"selector": {}, "podSelector": {}},
        "spec.podSelector",
        "Forbidden: is there beside selector; allowed: one of the two",
    ),
    "a label with a wrong key": Wrong(
        {"podSelector": {"matchLabels": {"a b": "c"}}},
        "spec.podSelector.matchLabels",
        f"has a key that {KEY}",
        ours="spec.podSelector.matchLabels[a b]",
    ),
    "a label with a wrong prefix": Wrong(
        {"selector": {"matchLabels": {"A/b": "c"}}},
        "spec.selector.matchLabels",
        f"has a key that {KEY}",
        ours="spec.selector.matchLabels[A/b]",
    ),
    "a label without a key": Wrong(
        {"selector": {"matchLabels": {"": "c"}}},
        "spec.selector.matchLabels",
        f"has a key that {KEY}",
        ours="spec.selector.matchLabels[]",
    ),
    "a label with a wrong value": Wrong(
        {"selector": {"matchLabels": {"a": "b c"}}},
        "spec.selector.matchLabels[a]",
        LABELS,
        ours="spec.selector.matchLabels.a",
    ),
    "a label with a long value": Wrong(
        {"podSelector": {"matchLabels": {"a": "b" * 64}}},
        "spec.podSelector.matchLabels.a",
        "Too long: may not be more than 63 bytes",
    ),
    "an expression without values": Wrong(
        {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
        "spec.podSelector.matchExpressions[0].values",
        "does not go with In and NotIn; allowed: one value or more",
    ),
    "an expression with no value left": Wrong(
        {"selector": {"matchExpressions": [{"key": "a", "operator": "NotIn", "values": []}]}},
        "spec.selector.matchExpressions[0].values",
        "does not go with In and NotIn; allowed: one value or more",
    ),
    "an expression with needless values": Wrong(
        {"selector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
        "spec.selector.matchExpressions[0].values",
        "does not go with Exists and DoesNotExist; allowed: no values",
    ),
    "an expression with an unknown operator": Wrong(
        {"selector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}},
        "spec.selector.matchExpressions[0].operator",
        'Unsupported value: "Gt": supported values: "In", "NotIn", "Exists", "DoesNotExist"',
    ),
    "an expression with a wrong key": Wrong(
        {"podSelector": {"matchExpressions": [{"key": "a/b/c", "operator": "Exists"}]}},
        "spec.podSelector.matchExpressions[0].key",
        "is not a valid key; allowed: a name",
    ),
    "an expression without a key": Wrong(
        {"podSelector": {"matchExpressions": [{"operator": "Exists"}]}},
        "spec.podSelector.matchExpressions[0].key",
        "Required value",
    ),
    "an expression with a wrong value": Wrong(
        {"selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["-b"]}]}},
        "spec.selector.matchExpressions[0].values[0]",
        LABELS,
    ),
    "no time for an attempt": Wrong(
        {"pullPolicy": {"timeoutSeconds": 0}},
        "spec.pullPolicy.timeoutSeconds",
        "greater than or equal to 1",
    ),
    "too much time for an attempt": Wrong(
        {"pullPolicy": {"timeoutSeconds": 2**31}},
        "spec.pullPolicy.timeoutSeconds",
        "less than or equal to 2147483647",
    ),
    "a time in quotes": Wrong(
        {"pullPolicy": {"timeoutSeconds": "60"}},
        "spec.pullPolicy.timeoutSeconds",
        "must be of type integer",
    ),
    "fewer than no retries": Wrong(
        {"pullPolicy": {"backoffLimit": -1}},
        "spec.pullPolicy.backoffLimit",
        "greater than or equal to 0",
    ),
    "no time for the job": Wrong(
        {"completionPolicy": {"activeDeadlineSeconds": 0}},
        "spec.completionPolicy.activeDeadlineSeconds",
        "greater than or equal to 1",
    ),
    "a life that ends before it began": Wrong(
        {"completionPolicy": {"ttlSecondsAfterFinished": -1}},
        "spec.completionPolicy.ttlSecondsAfterFinished",
        "greater than or equal to 0",
    ),
    "an unknown completion": Wrong(
        {"completionPolicy": {"type": "Sometimes"}},
        "spec.completionPolicy.type",
        'Unsupported value: "Sometimes": supported values: "Always", "Never"',
    ),
    "an end with a deadline that never comes": Wrong(
        {"completionPolicy": {"type": "Never", "activeDeadlineSeconds": 600}},
        "spec.completionPolicy.activeDeadlineSeconds",
        NEVER,
    ),
    "a life after an end that never comes": Wrong(
        {"completionPolicy": {"type": "Never", "ttlSecondsAfterFinished": 0}},
        "spec.completionPolicy.ttlSecondsAfterFinished",
        NEVER,
    ),
    "an unknown rule for present images": Wrong(
        {"imagePullPolicy": "Never"},
        "spec.imagePullPolicy",
        'Unsupported value: "Never": supported values: "IfNotPresent", "Always"',
    ),
    "a Secret with a wrong name": Wrong(
        {"pullSecrets": ["good", "not good"]},
        "spec.pullSecrets[1]",
        "is not a valid name; allowed: at most 253 characters",
    ),
    "a Secret without a name": Wrong(
        {"pullSecrets": [""]}, "spec.pullSecrets[0]", "is not a valid name; allowed"
    ),
    "a Secret as a number": Wrong({"pullSecrets": [1]}, "spec.pullSecrets[0]", "must be of type string"),
    "a label that is a number": Wrong(
        {"sandboxConfig": {"labels": {"a": 1}}}, "spec.sandboxConfig.labels.a", "must be of type string"
    ),
}
"""What both kinds of job refuse, beside their images."""

JOB: Final[Mapping[str, Wrong]] = {
    "no image": Wrong({}, "spec.image", "Required value"),
    "no image but null": Wrong({"image": None}, "spec.image", "Required value"),
    "an attempt longer than the job": Wrong(
        {
            "image": "a",
            "completionPolicy": {"activeDeadlineSeconds": 60},
            "pullPolicy": {"timeoutSeconds": 61},
        },
        "spec.pullPolicy.timeoutSeconds",
        "exceeds completionPolicy.activeDeadlineSeconds; allowed: from 1 to that",
    ),
}
"""What jobs of one image refuse alone."""

LIST: Final[Mapping[str, Wrong]] = {
    "no images": Wrong({}, "spec.images", "Required value"),
    "no image in the list": Wrong({"images": []}, "spec.images", "should have at least 1 items"),
    "too many images": Wrong(
        {"images": [f"a{i}" for i in range(256)]}, "spec.images", "Too many: 256: must have at most 255 items"
    ),
    "an image twice": Wrong({"images": ["a", "b", "a"]}, "spec.images[2]", 'Duplicate value: "a"'),
    "one that is none": Wrong({"images": ["a", "B"]}, "spec.images[1]", REFERENCE),
}
"""What jobs of several images refuse alone."""

RIGHT: Final[Mapping[str, Mapping[str, Any]]] = {
    "nothing further": {},
    "paused": {"parallelism": 0},
    "many nodes": {"parallelism": 5000},
    "no node": {"parallelism": "0%"},
    "every node": {"parallelism": "100%"},
    "an empty selector": {"selector": {}},
    "an empty selector of pods": {"podSelector": {}},
    "names": {"selector": {"names": ["a", "b.c"]}},
    "names beside no labels": {"selector": {"names": ["a"], "matchLabels": {}, "matchExpressions": []}},
    "labels beside no names": {"selector": {"names": [], "matchLabels": {"example.com/a_b": "", "c": "D.e"}}},
    "expressions": {
        "selector": {
            "matchExpressions": [
                {"key": "a", "operator": "In", "values": ["b", ""]},
                {"key": "a", "operator": "NotIn", "values": ["c"]},
                {"key": "d", "operator": "Exists"},
                {"key": "e", "operator": "DoesNotExist", "values": []},
            ]
        }
    },
    "bounds": {
        "pullPolicy": {"timeoutSeconds": 1, "backoffLimit": 0},
        "completionPolicy": {"activeDeadlineSeconds": 1, "ttlSecondsAfterFinished": 0},
    },
    "a short deadline": {"completionPolicy": {"activeDeadlineSeconds": 30}},
    "never over": {"completionPolicy": {"type": "Never"}, "pullPolicy": {"timeoutSeconds": 2**31 - 1}},
    "never over, in so many words": {
        "completionPolicy": {
            "type": "Never",
            "activeDeadlineSeconds": None,
            "ttlSecondsAfterFinished": None,
        }
    },
    "Secrets": {"pullSecrets": ["a", "b.c-d", "a"]},
    "a sandbox": {"sandboxConfig": {"labels": {"any": "thing at all"}, "annotations": {"a/b": "{}"}}},
    "always": {"imagePullPolicy": "Always"},
    "nothing but null": {"selector": None, "podSelector": None, "sandboxConfig": None},
}
"""What both kinds of job accept, beside their images."""

SCHEMA_ALONE: Final[Mapping[str, Wrong]] = {
    "a very long image": Wrong({"image": "a" * 800 + ".example/app"}, "spec.image", "more than 800 bytes"),
    "101 Secrets": Wrong(
        {"image": "a", "pullSecrets": [f"s{i}" for i in range(101)]}, "spec.pullSecrets", "at most 100 items"
    ),
    "101 labels": Wrong(
        {"image": "a", "selector": {"matchLabels": {f"k{i}": "" for i in range(101)}}},
        "spec.selector.matchLabels",
        "at most 100 items",
    ),
    "51 expressions": Wrong(
        {"image": "a", "selector": {"matchExpressions": [{"key": "a", "operator": "Exists"}] * 51}},
        "spec.selector.matchExpressions",
        "at most 50 items",
    ),
    "an IPv4 address as an IPv6 address": Wrong(
        {"image": "[::ffff:192.0.2.1]/a"}, "spec.image", "an IPv6 address in the brackets"
    ),
}
"""What the schema refuses so that its rules stay cheap, and one notation that CEL does not know."""
