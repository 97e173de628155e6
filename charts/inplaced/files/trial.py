"""Has every node say that it has the release's own image, and prints how the job went. Standard library only."""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ACCOUNT = Path(os.environ.get("TRIAL_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
"""Directory of the token, and of the certificates that the API server is known by."""
JOBS = "/apis/apps.kruise.io/{version}/namespaces/{namespace}/imagepulljobs"
VERSIONS = ("v1beta1", "v1alpha1")
"""The second is all that OpenKruise before 1.9 serves."""
ALL = 10_000
"""Nodes at the same time; OpenKruise's webhook takes no percentage."""
PAUSE = 0.5
"""Seconds between two looks at the job."""


def ask(method: str, path: str, body: Any = None) -> Any:
    """Send one request to the API server. Raises urllib.error.HTTPError."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    address = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    request = urllib.request.Request(  # noqa: S310 - https alone
        address + path,
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/json",
        },
    )
    trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=10, context=trust) as response:  # noqa: S310 - https alone
        return json.load(response)


def remove(path: str) -> None:
    """Delete the job; an absent one is no error."""
    try:
        ask("DELETE", path)
    except urllib.error.HTTPError as error:
        if error.code != 404:
            raise


def follow(path: str, deadline: float) -> bool:
    """Print the job's message whenever it changes; tell whether every node had the image in time."""
    shown = ""
    while time.monotonic() < deadline:
        status = ask("GET", path).get("status", {})
        text = words(status)
        if text != shown:
            print(text, flush=True)  # noqa: T201 - this is the log of the test
            shown = text
        if status.get("completionTime"):
            return status.get("succeeded", 0) == status.get("desired", 0) > 0
        time.sleep(PAUSE)
    return False


def words(status: Any) -> str:
    """What the job says of itself: OpenKruise's manager gives it no conditions."""
    ready = [each["message"] for each in status.get("conditions", ()) if each["type"] == "Ready"]
    if ready:
        return str(ready[0])
    if status.get("message"):
        done, desired = status.get("succeeded", 0), status.get("desired", 0)
        return f"{status['message']}: {done} of {desired} nodes have the image"
    return "not looked at yet: is the controller running?"


def add(jobs: str, job: Any, deadline: float) -> None:
    """Make the job once none has its name: OpenKruise's manager has to let go of one that was deleted."""
    while True:
        try:
            ask("POST", jobs, job)
        except urllib.error.HTTPError as error:
            if error.code != 409 or time.monotonic() >= deadline:
                raise
        else:
            return
        time.sleep(PAUSE)


def make(namespace: str, job: Any, deadline: float) -> str:
    """Make the job in the first version that is served, in place of an older one, and return its path."""
    for version in VERSIONS:
        jobs = JOBS.format(version=version, namespace=namespace)
        path = f"{jobs}/{job['metadata']['name']}"
        remove(path)
        try:
            add(jobs, {"apiVersion": f"apps.kruise.io/{version}", **job}, deadline)
        except urllib.error.HTTPError as error:
            if error.code != 404 or version == VERSIONS[-1]:
                raise
        else:
            return path
    raise AssertionError("the last version returns or raises")


def main() -> int:
    """Run the job and return the exit code."""
    timeout = int(os.environ["TRIAL_TIMEOUT"])
    job = {
        "kind": "ImagePullJob",
        "metadata": {"name": os.environ["TRIAL_JOB"]},
        "spec": {
            "image": os.environ["TRIAL_IMAGE"],
            "parallelism": ALL,
            "pullPolicy": {"timeoutSeconds": timeout},
            "completionPolicy": {
                "type": "Always",
                "activeDeadlineSeconds": timeout,
                "ttlSecondsAfterFinished": 600,
            },
        },
    }
    path = make(os.environ["TRIAL_NAMESPACE"], job, time.monotonic() + timeout)
    try:
        return 0 if follow(path, time.monotonic() + timeout) else 1
    finally:
        remove(path)


if __name__ == "__main__":
    sys.exit(main())
