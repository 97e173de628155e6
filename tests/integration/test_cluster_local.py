"""`make cluster` and `make cluster-down`, as a person has them: outside of the namespaces."""

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest_asyncio

from tests.testbed import session
from tests.testbed.api import run
from tests.testbed.processes import until
from tests.testbed.toolchain import cache_directory

DEADLINE = 300.0


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a cache of their own, in which all programs are."""

    cache: Path
    sessions: Path

    @property
    def state(self) -> Path:
        return self.cache / "inplaced" / "cluster"

    @property
    def environ(self) -> Mapping[str, str]:
        outside = dict.fromkeys((session.DIRECTORY_VARIABLE, session.CGROUP_VARIABLE), "")
        return os.environ | outside | {"XDG_CACHE_HOME": str(self.cache), "TMPDIR": str(self.sessions)}

    async def make(self, verb: str) -> str:
        """What the command prints."""
        command = [sys.executable, "-m", "tests.testbed.local", verb]
        return await run(command, timeout=DEADLINE, environ=self.environ)

    async def do(self, *words: str) -> str:
        """Run a program as they would after having followed what was printed."""
        told = {
            "KUBECONFIG": str(self.state / "kubeconfig"),
            "PATH": f"{self.state / 'bin'}:{os.environ['PATH']}",
        }
        return await run(words, timeout=DEADLINE, environ={**self.environ, **told})

    def left(self) -> list[str]:
        """What there still is of any cluster."""
        files = [str(path) for path in (*self.sessions.iterdir(), *self.state.glob("*"))]
        return files + [line for line in session.processes().values() if str(self.sessions) in line]

    async def has_nothing_left(self) -> bool:
        return not self.left()


@pytest_asyncio.fixture
async def person(testbed: session.Session) -> AsyncIterator[Person]:
    made = Person(testbed.new_directory("e"), testbed.new_directory("e"))
    (made.cache / "inplaced").mkdir()
    for home in cache_directory().iterdir():
        if home.name != made.state.name:
            (made.cache / "inplaced" / home.name).symlink_to(home)
    yield made
    await made.make("down")


async def test_what_is_printed_works_and_nothing_is_left_after_a_crash(person: Person) -> None:
    printed = await person.make("up")
    again = await person.make("up")

    assert f"export KUBECONFIG={person.state}/kubeconfig" in printed
    assert "The cluster runs already" in again
    assert printed.strip() in again
    await person.do("kubectl", "apply", "-f", str(person.state / "example.yaml"))
    await person.do("kubectl", "wait", "--for=condition=Ready", "imagepulljob/web", "--timeout=60s")
    pulled = await person.do("kubectl", "inplaced", "pull", "10.244.1.1:5000/example/web:v2")
    assert "on 1 node in" in pulled
    assert "STATUS: deployed" in await person.do("helm", "-n", "inplaced", "status", "inplaced")

    os.kill(json.loads((person.state / "running.json").read_text())["pid"], signal.SIGKILL)
    await person.make("down")
    await until(person.has_nothing_left, timeout=30.0, what="an empty machine after a crash")
