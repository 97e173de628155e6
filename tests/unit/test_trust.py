"""Whom the machine trusts is read when somebody wants to know, not by every process that speaks HTTP."""

import os
import subprocess
import sys

import pytest

from daemon.trust import import_aiohttp, system_trust

LOADED = """
import os, sys
from daemon.trust import import_aiohttp, system_trust
import_aiohttp()
import aiohttp.connector
own = aiohttp.connector._SSL_CONTEXT_VERIFIED
print(len(own.get_ca_certs()), len(system_trust().get_ca_certs()), os.environ.get("SSL_CERT_FILE"))
"""
MODULES = """
import sys
from daemon.trust import import_aiohttp
import_aiohttp()
import daemon.agent
print(*sorted(sys.modules))
"""
ELSEWHERE = {
    "argparse",
    "daemon.debug.page",
    "daemon.kube.kubeconfig",
    "daemon.nodeimages.plugins",
    "daemon.store",
    "kubernetes",
    "nacl.public",
    "tomllib",
    "typer",
    "yaml",
}


def run(text: str, **environ: str) -> str:
    # A process under coverage imports what coverage needs: that would stand among the agent's modules.
    told = ("SSL_CERT", "COVERAGE_")
    outer = {name: value for name, value in os.environ.items() if not name.startswith(told)}
    return subprocess.run(
        [sys.executable, "-c", text],
        env=outer | environ,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


@pytest.mark.parametrize("given", ["", "/etc/ssl/certs/ca-certificates.crt"])
def test_aiohttp_is_imported_without_certificates_and_the_variables_stay(given: str) -> None:
    own, system, kept = run(LOADED, **({"SSL_CERT_FILE": given} if given else {})).split()

    assert own == "0"
    assert int(system) > 10
    assert kept == (given or "None")


def test_a_failing_import_leaves_the_variables_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    environ = {"SSL_CERT_DIR": "/certs"}

    with pytest.raises(ImportError):
        import_aiohttp(environ)

    assert environ == {"SSL_CERT_DIR": "/certs"}


def test_the_machines_trust_is_read_once() -> None:
    assert system_trust() is system_trust()


def test_an_agent_imports_nothing_that_it_does_not_use() -> None:
    imported = set(run(MODULES).split())

    assert "daemon.member" in imported
    assert imported & ELSEWHERE == set()
