"""How the command line meets agents that are not there, not allowed, or not themselves."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from daemon.__main__ import main

VIEW = b'{"node": "n", "version": "9", "startedAt": "2026-01-01T00:00:00Z", "now": "2026-01-01T00:00:00Z"'


@contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """Listen at *path* and give one client these bytes."""

    def work() -> None:
        client, _ = listening.accept()
        with client:
            client.recv(65536)
            client.sendall(answer)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            thread.join(10)
            assert not thread.is_alive()


def status(path: Path) -> int:
    return main(["status", "--socket", str(path)])


def http(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http("200 OK", b"<html>"), "cannot be read"),
        (http("200 OK", b'{"node": 7}'), "cannot be read"),
        (http("403 Forbidden", b"user id 7 may not\n"), "user id 7 may not. Run this as root"),
        (http("404 Not Found", b"nothing is here"), "answered 404 Not Found: nothing is here"),
        (http("500 Oh", b'{"message": "broken"}'), "answered 500 Oh: broken"),
        (b"SSH-2.0-OpenSSH_9\r\n", "broke off"),
        (b"", "broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "broke off"),
    ],
)
def test_who_does_not_answer_as_an_agent_is_told_of_with_code_3(
    answer: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.sock"

    with answering(path, answer):
        code = status(path)

    heard = capsys.readouterr()
    assert code == 3
    assert said in heard.err
    assert heard.out == ""


def test_an_agent_of_a_later_version_is_understood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.sock"

    with answering(path, http("200 OK", VIEW + b', "ready": true, "weather": {"fine": true}}')):
        code = status(path)

    assert code == 0
    assert "Node:     n, ready" in capsys.readouterr().out


def test_a_socket_that_nobody_listens_at_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    code = status(path)

    assert code == 3
    assert f"no agent: nobody listens at {path}" in capsys.readouterr().err


def test_a_path_that_is_too_long_is_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = status(tmp_path / ("x" * 200))

    assert code == 3
    assert "AF_UNIX path too long" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_may_not_open_the_socket_is_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        path.chmod(0o600)
        os.seteuid(65534)
        try:
            code = status(path)
        finally:
            os.seteuid(0)

    assert code == 3
    assert "may not open" in capsys.readouterr().err
