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
JOBS = "/apis/apps.kruise.io/v1beta1/namespaces/{namespace}/imagepulljobs"
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
        ready = [each for each in status.get("conditions", ()) if each["type"] == "Ready"]
        text = ready[0]["message"] if ready else "not looked at yet: is the controller running?"
        if text != shown:
            print(text, flush=True)  # noqa: T201 - this is the log of the test
            shown = text
        if status.get("completionTime"):
            return bool(ready) and ready[0]["status"] == "True" and status["desired"] > 0
        time.sleep(PAUSE)
    return False


def main() -> int:
    """Run the job and return the exit code."""
    name, jobs = os.environ["TRIAL_JOB"], JOBS.format(namespace=os.environ["TRIAL_NAMESPACE"])
    timeout = int(os.environ["TRIAL_TIMEOUT"])
    job = {
        "apiVersion": "apps.kruise.io/v1beta1",
        "kind": "ImagePullJob",
        "metadata": {"name": name},
        "spec": {
            "image": os.environ["TRIAL_IMAGE"],
            "parallelism": "100%",
            "completionPolicy": {"activeDeadlineSeconds": timeout, "ttlSecondsAfterFinished": 600},
        },
    }
    remove(f"{jobs}/{name}")
    ask("POST", jobs, job)
    try:
        return 0 if follow(f"{jobs}/{name}", time.monotonic() + timeout) else 1
    finally:
        remove(f"{jobs}/{name}")


if __name__ == "__main__":
    sys.exit(main())
