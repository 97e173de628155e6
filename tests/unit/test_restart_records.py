"""What a container runs with, read from records as containerd and CRI-O keep them."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from daemon.cri.types import ContainerState, ContainerStatus
from daemon.objects.container_env import expected
from daemon.objects.container_hashes import fingerprint
from daemon.objects.local_pods import Container, EnvVar
from daemon.restarts.judging import differences
from daemon.restarts.plans import Record
from daemon.restarts.records import RecordError, record_of
from tests.unit.restarting_pods import COLOUR, IMAGE, web

LITERAL = EnvVar(name="URL", value="http://$(COLOUR)/$(HOST)")
APP = Container(name="app", image=IMAGE, env=(COLOUR, LITERAL), args=("--colour=$(COLOUR)",))


def containerd(env: Mapping[str, str], args: list[str] | None = None, **image: str) -> dict[str, Any]:
    """The CRI config as it was sent, and the OCI spec with the image's own variables and entrypoint."""
    return {
        "sandboxID": "s",
        "pid": 42,
        "config": {
            "metadata": {"name": "app", "attempt": 2},
            "image": {"image": "sha256:abc", **image},
            "envs": [{"key": key, "value": value} for key, value in env.items()],
            "args": args,
            "labels": {"a": "b"},
            "linux": {"resources": {}},
        },
        "runtimeSpec": {
            "ociVersion": "1.0.2",
            "process": {
                "args": ["/entrypoint", *(args or [])],
                "env": [
                    "PATH=/bin",
                    "COLOUR=of the image",
                    *(f"{key}={value}" for key, value in env.items()),
                ],
                "cwd": "/",
            },
        },
    }


def crio(env: Mapping[str, str], args: list[str]) -> dict[str, Any]:
    """Of what was sent only the result is kept."""
    variables = ["PATH=/bin", "COLOUR=of the image", *(f"{key}={value}" for key, value in env.items())]
    return {
        "sandboxID": "s",
        "pid": 42,
        "privileged": False,
        "runtimeSpec": {"process": {"args": args, "env": variables}},
    }


def status(info: object, **fields: Any) -> ContainerStatus:
    every: dict[str, Any] = {
        "id": "1",
        "name": "app",
        "attempt": 2,
        "state": ContainerState.RUNNING,
        "created_at": None,
        "started_at": None,
        "finished_at": None,
        "exit_code": 0,
        "image": "sha256:abc",
        "image_ref": "sha256:abc",
        "reason": "",
        "message": "",
        "labels": {},
        "annotations": {"io.kubernetes.container.hash": "e31d4e96"},
        "log_path": "",
        "resources": None,
        "info": {"info": info if isinstance(info, str) else json.dumps(info)},
    }
    return ContainerStatus(**{**every, **fields})


VALUES = {
    "newline": "two\nlines\n",
    "blanks": "  around  ",
    "equals": "a=b=c",
    "unicode": "grün ✓ \U0001f600",
    "empty": "",
    "long": "x" * 32 * 1024,
    "template": "$(HOME) {{ x }} `id`",
}


@pytest.mark.parametrize("kind", ["containerd", "cri-o"])
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_any_value_is_read_as_it_is(kind: str, value: str) -> None:
    env = {"COLOUR": value, "URL": "x", "HOST": "h"}
    info = containerd(env) if kind == "containerd" else crio(env, ["/entrypoint"])

    found = record_of(status(info), APP)

    assert found.env == env
    assert found.metadata == {"COLOUR": value}
    assert found.fingerprint == fingerprint({"COLOUR": value})


@pytest.mark.parametrize("kind", ["containerd", "cri-o"])
def test_a_container_that_runs_as_its_pod_asks_does_not_differ(kind: str) -> None:
    env = {"COLOUR": "red", "URL": "http://red/h", "HOST": "h"}
    args = ["--colour=red"]
    found = record_of(
        status(containerd(env, args) if kind == "containerd" else crio(env, ["/entrypoint", *args])), APP
    )

    assert differences(expected(web(), APP, found.env), found) == []


@pytest.mark.parametrize("kind", ["containerd", "cri-o"])
def test_what_differs_is_named(kind: str) -> None:
    env = {"COLOUR": "blue", "URL": "http://blue/h", "HOST": "h"}
    args = ["--colour=blue"]
    found = record_of(
        status(containerd(env, args) if kind == "containerd" else crio(env, ["/entrypoint", *args])), APP
    )

    assert differences(expected(web(), APP, found.env), found) == ["COLOUR", "URL", "command"]


def test_variables_that_no_drift_depends_on_are_not_kept() -> None:
    found = record_of(status(containerd({"COLOUR": "red", "PASSWORD": "hush"})), APP)

    assert "PASSWORD" not in found.env
    assert "red" not in repr(found)


def test_a_command_of_the_pod_is_compared_as_a_whole() -> None:
    of = Container(name="app", env=(COLOUR,), command=("run", "$(COLOUR)"))
    wanted = expected(web(), of, {})

    same = record_of(status(crio({"COLOUR": "red"}, ["run", "red"])), of)
    longer = record_of(status(crio({"COLOUR": "red"}, ["run", "red", "more"])), of)

    assert (same.runs(wanted), longer.runs(wanted)) == (True, False)


def test_the_kubelets_hash_and_the_pods_image_are_kept() -> None:
    found = record_of(status(containerd({}, user_specified_image="registry.test/app:v1")), APP)

    assert (found.image_hash, found.image) == (0xE31D4E96, "registry.test/app:v1")


@pytest.mark.parametrize("text", ["", "xyz", "0x12 "])
def test_a_container_that_is_not_the_kubelets_has_no_hash(text: str) -> None:
    found: Record = record_of(
        status(containerd({}), annotations={"io.kubernetes.container.hash": text} if text else {}), APP
    )

    assert found.image_hash in {0, 0x12}


@pytest.mark.parametrize("info", ["", "{", "[]", '{"config": 7}', "{}", '{"runtimeSpec": {}}', '"\udc00"'])
def test_a_record_of_another_form_is_an_error_that_says_so(info: str) -> None:
    with pytest.raises(RecordError, match="runtime's record"):
        record_of(status(info), APP)


def test_a_runtime_that_tells_no_record_is_an_error_too() -> None:
    with pytest.raises(RecordError, match="keeps no record"):
        record_of(replace(status({}), info={}), APP)
