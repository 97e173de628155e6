"""What a kubeconfig says of namespaces: kubectl's rule for which one is meant when none is named."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def namespace_of(kubeconfig: Path | None, context: str, environ: Mapping[str, str]) -> str:
    """The namespace of the context, ``default`` where nothing is said; what cannot be read says nothing."""
    documents = list(_documents(kubeconfig, environ))
    name = context or next((each["current-context"] for each in documents if each.get("current-context")), "")
    for document in documents:
        for entry in document.get("contexts") or ():
            if isinstance(entry, dict) and entry.get("name") == name:
                return str((entry.get("context") or {}).get("namespace") or "default")
    return "default"


def _documents(kubeconfig: Path | None, environ: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    import yaml

    listed = [Path(path) for path in environ.get("KUBECONFIG", "").split(":") if path]
    for path in [kubeconfig] if kubeconfig is not None else listed or [Path("~/.kube/config")]:
        try:
            found = yaml.safe_load(path.expanduser().read_text())
        except (OSError, ValueError, yaml.YAMLError):
            continue  # whoever connects tells what is wrong with it
        if isinstance(found, dict):
            yield found
