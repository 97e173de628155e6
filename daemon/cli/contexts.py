"""What a kubeconfig says of contexts and namespaces: kubectl's rules for what is meant when none is named."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from daemon.cli.errors import UnreachableError, UsageError

_DEFAULT: Final = Path("~/.kube/config")
_REMEDY: Final = "name one with --kubeconfig FILE or in KUBECONFIG"


def check(kubeconfig: Path | None, context: str, environ: Mapping[str, str]) -> Path | None:
    """The file to read, None for all that KUBECONFIG names; whether it can be used shows later.

    Raises UsageError when what was named is not there, and UnreachableError when there is no kubeconfig.
    """
    paths = _paths(kubeconfig, environ)
    if not any(map(_may_be_there, paths)):
        named = ", ".join(map(str, paths))
        if kubeconfig is not None:
            raise UsageError(f"--kubeconfig {named}: there is no such file; allowed: a kubeconfig")
        where = f"KUBECONFIG names {named}" if environ.get("KUBECONFIG") else f"there is no {named}"
        raise UnreachableError(f"no kubeconfig, so no cluster is known: {where}; {_REMEDY}")
    documents = list(_documents(paths))
    known = [name for document in documents for name in _contexts(document)]
    if context and documents and context not in known:
        raise UsageError(f"--context {context!r} is not there; allowed: {', '.join(known) or 'none'}")
    return paths[0] if len(paths) == 1 else None


def namespace_of(kubeconfig: Path | None, context: str, environ: Mapping[str, str]) -> str:
    """The namespace of the context, ``default`` where nothing is said; what cannot be read says nothing."""
    documents = list(_documents(_paths(kubeconfig, environ)))
    name = context or next((each["current-context"] for each in documents if each.get("current-context")), "")
    for document in documents:
        found = _contexts(document).get(name)
        if found is not None:
            return str(found.get("namespace") or "default")
    return "default"


def _contexts(document: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The contexts of one file by their names."""
    entries = [entry for entry in document.get("contexts") or () if isinstance(entry, dict)]
    return {str(entry.get("name")): entry.get("context") or {} for entry in entries}


def _paths(kubeconfig: Path | None, environ: Mapping[str, str]) -> Sequence[Path]:
    """Files in the order in which kubectl reads them."""
    listed = [Path(path) for path in environ.get("KUBECONFIG", "").split(":") if path]
    return [path.expanduser() for path in ([kubeconfig] if kubeconfig is not None else listed or [_DEFAULT])]


def _may_be_there(path: Path) -> bool:
    """Whether there is such a file; True where that cannot be told, as in somebody else's directory."""
    try:
        return path.is_file()
    except OSError:
        return True


def _documents(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    import yaml

    for path in paths:
        try:
            found = yaml.safe_load(path.read_text())
        except (OSError, ValueError, yaml.YAMLError):
            continue  # whoever connects tells what is wrong with it
        if isinstance(found, dict):
            yield found
