"""Where runtimes are looked for."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri.sockets import Candidate, candidates, present, socket_path


@pytest.fixture
def sockets() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _listen(path: Path, stack: ExitStack) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    listener = stack.enter_context(socket.socket(socket.AF_UNIX))
    listener.bind(str(path))


def test_without_settings_the_usual_places_are_looked_at() -> None:
    paths = {place.origin: str(place.path) for place in candidates()}

    assert paths == {
        "containerd": "/run/containerd/containerd.sock",
        "cri-o": "/run/crio/crio.sock",
        "cri-dockerd": "/run/cri-dockerd.sock",
        "k3s": "/run/k3s/containerd/containerd.sock",
        "k0s": "/run/k0s/containerd.sock",
        "microk8s": "/var/snap/microk8s/common/run/containerd.sock",
    }


def test_the_usual_places_are_below_the_hosts_root() -> None:
    places = candidates(root=Path("/host"))

    assert str(places[0].path) == "/host/run/containerd/containerd.sock"
    assert str(places[-1].path) == "/host/var/snap/microk8s/common/run/containerd.sock"


def test_explicit_settings_win_and_are_taken_as_they_are() -> None:
    places = candidates(["unix:///run/a.sock", "/run/b.sock"], root=Path("/host"))

    assert places == (
        Candidate(Path("/run/a.sock"), "settings"),
        Candidate(Path("/run/b.sock"), "settings"),
    )


def test_a_setting_that_is_given_twice_counts_once() -> None:
    assert len(candidates(["unix:///run/a.sock", "/run/a.sock"])) == 1


@pytest.mark.parametrize(
    "wrong", ["", "run/a.sock", "tcp://127.0.0.1:2375", "unix://a.sock", "npipe:////./pipe/x"]
)
def test_a_setting_that_is_no_absolute_path_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="is not the absolute path of a unix socket"):
        candidates([wrong])


def test_a_path_too_long_for_a_socket_is_refused() -> None:
    with pytest.raises(ValueError, match="longer than the 107 bytes"):
        candidates(["/run/" + "é" * 60])


@given(st.text())
def test_any_setting_is_a_path_or_refused(text: str) -> None:
    try:
        path = socket_path(text)
    except ValueError:
        return

    assert path.is_absolute()


def test_only_sockets_are_present(tmp_path: Path, sockets: ExitStack) -> None:
    _listen(tmp_path / "run/crio/crio.sock", sockets)
    (tmp_path / "run/containerd").mkdir()
    (tmp_path / "run/containerd/containerd.sock").write_text("a file")
    (tmp_path / "run/k3s/containerd/containerd.sock").mkdir(parents=True)
    (tmp_path / "run/cri-dockerd.sock").symlink_to("nowhere")

    found = present(candidates(root=tmp_path))

    assert [place.origin for place in found] == ["cri-o"]


def test_a_socket_that_is_reached_by_two_paths_counts_once_by_the_first(
    tmp_path: Path, sockets: ExitStack
) -> None:
    _listen(tmp_path / "run/one.sock", sockets)
    _listen(tmp_path / "run/two.sock", sockets)
    (tmp_path / "var").mkdir()
    (tmp_path / "var/run").symlink_to("../run")
    names = ("var/run/one.sock", "run/two.sock", "run/one.sock")

    found = present(candidates([str(tmp_path / name) for name in names]))

    assert [str(place.path.relative_to(tmp_path)) for place in found] == ["var/run/one.sock", "run/two.sock"]


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\x00"), max_size=300), max_size=5))
def test_looking_never_fails(names: list[str]) -> None:
    places = [Candidate(Path("/nonexistent") / name.lstrip("/"), "settings") for name in names]

    assert present(places) == ()
