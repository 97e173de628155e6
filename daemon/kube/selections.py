"""Which objects of a kind are asked for: as parameters of a request, and judged here for own writes."""

from collections.abc import Mapping

import msgspec

from daemon.engine.objects import ApiObject
from daemon.objects.meta import LabelSelector, LabelSelectorRequirement, selects

_ANY_LABELS = LabelSelector()


class Selection(msgspec.Struct, frozen=True):
    """A part of the objects of a kind; by default all of them."""

    namespace: str = ""
    """Only this namespace; empty means all."""
    labels: LabelSelector = _ANY_LABELS
    fields: Mapping[str, str] = {}
    """Paths such as ``metadata.name`` and the value they must have."""

    def parameters(self) -> dict[str, str]:
        """The query of a list or watch request."""
        labels = ",".join(_labels(self.labels))
        fields = ",".join(f"{path}={_escaped(value)}" for path, value in self.fields.items())
        return {name: text for name, text in (("labelSelector", labels), ("fieldSelector", fields)) if text}

    def admits(self, obj: ApiObject) -> bool:
        """Tell whether *obj* belongs to the part, as far as our struct of it can tell."""
        here = not self.namespace or obj.metadata.namespace in {"", self.namespace}
        return (
            here
            and selects(self.labels, obj.metadata.labels)
            and all(_field(obj, path) in {None, value} for path, value in self.fields.items())
        )


EVERYTHING = Selection()


def only(name: str, namespace: str = "") -> Selection:
    """The one object of that name."""
    return Selection(namespace=namespace, fields={"metadata.name": name})


def _labels(selector: LabelSelector) -> list[str]:
    equal = [f"{key}={value}" for key, value in selector.match_labels.items()]
    return equal + [_requirement(each) for each in selector.match_expressions]


def _requirement(each: LabelSelectorRequirement) -> str:
    match each.operator:
        case "Exists":
            return each.key
        case "DoesNotExist":
            return f"!{each.key}"
        case "In":
            return f"{each.key} in ({','.join(each.values)})"
        case "NotIn":
            return f"{each.key} notin ({','.join(each.values)})"


def _escaped(value: str) -> str:
    """As in k8s.io/apimachinery/pkg/fields: backslash, comma and equals sign are escaped."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def _field(obj: object, path: str) -> str | None:
    """The text at *path*, None when our struct does not carry it."""
    for name in path.split("."):
        snake = "".join(f"_{char.lower()}" if char.isupper() else char for char in name)
        obj = getattr(obj, snake, None)
    return obj if isinstance(obj, str) else None
