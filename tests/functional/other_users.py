"""Asks an agent's unix socket as another user of the machine."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user of the machine may enter."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


AS_USER = """
import os, socket, sys
# Here, not before the start: the interpreter itself may lie where the other user cannot go.
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
talk = socket.socket(socket.AF_UNIX)
try:
    talk.connect(sys.argv[2])
except OSError as error:
    sys.exit(print(type(error).__name__))
talk.sendall(b"GET /statusz HTTP/1.0\\r\\n\\r\\n")
print(talk.recv(65536).decode())
"""


async def ask_as(uid: int, path: Path) -> str:
    """The start of the answer that a process of another user gets, or the error of its connect."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        "-c",
        AS_USER,
        str(uid),
        str(path),
        cwd="/",
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        answer, _ = await process.communicate()
    return answer.decode()
