"""What a container's variables, command and arguments are if it starts now, as far as can be known. Pure.

Known is what comes from the pod itself: literal values, labels, annotations and references to those. What
comes from elsewhere (ConfigMaps, Secrets, resources, the pod's address) is taken as the running container has
it: it is never a reason to restart.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from daemon.objects.expansion import expanded, references
from daemon.objects.local_pods import Container, EnvVar, LocalPod

SIDECARSET_NAMES: Final = frozenset({"SIDECARSET_VERSION", "SIDECARSET_VERSION_ALT"})
"""OpenKruise's own, from annotations that change without the container."""

MetadataField = Literal["labels", "annotations"]


@dataclass(frozen=True, slots=True)
class Expected:
    """What follows from the pod's labels and annotations. Values may be confidential: they are not shown."""

    env: Mapping[str, str] = field(repr=False)
    """The variables that depend on labels or annotations."""
    command: tuple[str, ...] = field(default=(), repr=False)
    args: tuple[str, ...] = field(default=(), repr=False)
    command_depends: bool = False
    """Whether command or arguments depend on labels or annotations."""


def metadata_key(path: str) -> tuple[MetadataField, str] | None:
    """What ``metadata.labels['key']`` or ``metadata.annotations['key']`` names; None for any other path."""
    head, bracket, rest = path.partition("['")
    if not bracket or not rest.endswith("']"):
        return None
    match head:
        case "metadata.labels":
            return "labels", rest[:-2]
        case "metadata.annotations":
            return "annotations", rest[:-2]
    return None


def restartable(pod: LocalPod) -> Iterator[Container]:
    """The containers that run for as long as the pod does: its own, and native sidecars."""
    yield from (each for each in pod.spec.init_containers if each.restart_policy == "Always")
    yield from pod.spec.containers


def from_metadata(container: Container) -> Mapping[str, tuple[MetadataField, str]]:
    """The variables whose value is a label or annotation, and which. The last of two of a name counts."""
    last = {variable.name: variable for variable in container.env if variable.name not in SIDECARSET_NAMES}
    found = {name: _metadata_source(variable) for name, variable in last.items()}
    return {name: source for name, source in found.items() if source is not None}


def metadata_values(pod: LocalPod, container: Container) -> Mapping[str, str]:
    """The values that those variables have in a container which starts now; without the key it is empty."""
    return {name: value_of(pod, source) for name, source in from_metadata(container).items()}


def value_of(pod: LocalPod, source: tuple[MetadataField, str]) -> str:
    """The label or annotation of *pod*, empty when it has none of that key."""
    where, key = source
    tags = pod.metadata.labels if where == "labels" else pod.metadata.annotations
    return tags.get(key, "")


def others(container: Container) -> bool:
    """Tell whether some variables come from what is not compared."""
    return bool(container.env_from) or any(
        variable.value_from is not None and not variable.value and _metadata_source(variable) is None
        for variable in container.env
    )


def relevant_names(container: Container) -> frozenset[str]:
    """The variables whose running values matter to ``expected``."""
    texts = (*(variable.value for variable in container.env), *container.command, *container.args)
    referring = {variable.name for variable in container.env if any(references(variable.value))}
    return (
        frozenset(from_metadata(container))
        | referring
        | {name for text in texts for name in references(text)}
    )


def expected(pod: LocalPod, container: Container, running: Mapping[str, str]) -> Expected:
    """What a start of *container* now would give it; *running* are its variables as the kubelet set them."""
    scope = _Scope(pod, container, running)
    for variable in container.env:
        scope.declare(variable)
    names = scope.derived - SIDECARSET_NAMES
    scope.all_declared = True
    return Expected(
        env={name: scope.values[name] for name in names},
        command=scope.expand_all(container.command),
        args=scope.expand_all(container.args),
        command_depends=scope.depends((*container.command, *container.args)),
    )


def _metadata_source(variable: EnvVar) -> tuple[MetadataField, str] | None:
    if variable.value or variable.value_from is None or variable.value_from.field_ref is None:
        return None
    return metadata_key(variable.value_from.field_ref.field_path)


class _Scope:
    """The variables that are declared so far, in the order in which the kubelet makes them."""

    def __init__(self, pod: LocalPod, container: Container, running: Mapping[str, str]) -> None:
        self._pod = pod
        self._running = running
        self._declared = {variable.name for variable in container.env}
        self._is_open = bool(container.env_from)
        self.all_declared = False
        self.values: dict[str, str] = {}
        self.derived: set[str] = set()
        """Those that depend on labels or annotations, and on nothing that cannot be known."""

    def declare(self, variable: EnvVar) -> None:
        """Give the next variable its value."""
        name, source = variable.name, _metadata_source(variable)
        depends = source is not None
        if source is not None:
            self.values[name] = value_of(self._pod, source)
        elif variable.value or variable.value_from is None:
            depends = self.depends((variable.value,))
            self.values[name] = expanded(variable.value, self._value)
        elif name in self._running:
            self.values[name] = self._running[name]
        else:  # An optional key that is not there: no such variable is set.
            self.values.pop(name, None)
        (self.derived.add if depends else self.derived.discard)(name)

    def expand_all(self, texts: tuple[str, ...]) -> tuple[str, ...]:
        """Each of *texts* with its references replaced."""
        return tuple(expanded(text, self._value) for text in texts)

    def depends(self, texts: tuple[str, ...]) -> bool:
        """Tell whether *texts* follow from labels or annotations, and from nothing that cannot be known."""
        named = {name for text in texts for name in references(text)}
        return not named.isdisjoint(self.derived) and not any(map(self._is_unknown, named))

    def _is_unknown(self, name: str) -> bool:
        """Declared only later, but maybe also in a ConfigMap or Secret: which of them is not to be seen."""
        return self._is_open and name in self._declared and name not in self.values and not self.all_declared

    def _value(self, name: str) -> str | None:
        if name in self.values:
            return self.values[name]
        return None if name in self._declared else self._running.get(name)
