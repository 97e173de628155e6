"""Runs commands on layers of files, in mount and PID namespaces of their own, and keeps what they wrote."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.testbed.session import TestbedError

DEADLINE: Final = 900.0
UNNEEDED: Final = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/doc/*")
"""What Debian's slim images leave out as well, but for copyrights."""
PASSED_ON: Final = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
"""The machine's, which may know of a proxy's."""
NAMESPACES: Final = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child")
PREPARE: Final = """
set -eu
mount -t overlay -o "$OVERLAY" overlay "$ROOT"
for name in proc dev run tmp etc; do mkdir -p "$ROOT/$name"; done
mount -t proc proc "$ROOT/proc"
mount --rbind /dev "$ROOT/dev"
mount -t tmpfs -o mode=755 run "$ROOT/run"
mount -t tmpfs -o mode=1777 tmp "$ROOT/tmp"
[ ! -e "$AUTHORITIES" ] || cp "$AUTHORITIES" "$ROOT/run/authorities.pem"
[ ! -e "$ROOT/etc/resolv.conf" ] || mount --bind /etc/resolv.conf "$ROOT/etc/resolv.conf"
exec env --ignore-environment "$@"
"""
COPY: Final = """
set -eu
mount -t overlay -o "$OVERLAY" overlay "$ROOT"
target=$1
shift
for source; do
    [ ! -d "$ROOT/$source" ] || source=$source/.
    cp -a "$ROOT/$source" "$target"
done
"""


def bootstrap(release: str, files: Path) -> None:
    """Put the smallest Debian that has a package manager into *files*. Raises TestbedError."""
    options = [f"--dpkgopt=path-exclude={path}" for path in UNNEEDED]
    options.append("--dpkgopt=path-include=/usr/share/doc/*/copyright")
    _call(["mmdebstrap", "--quiet", "--variant=minbase", *options, release, str(files)], os.environ)
    (files / "etc" / "hostname").unlink(missing_ok=True)  # This machine's.
    for device in (files / "dev").iterdir():  # A container has its own.
        if device.is_dir() and not device.is_symlink():
            shutil.rmtree(device)
        else:
            device.unlink()
    (files / "etc" / "resolv.conf").write_text("")
    files.chmod(0o755)


def run(command: str, layers: Sequence[Path], files: Path) -> None:
    """Run a shell command in *layers*; what it writes is kept in *files*. Raises TestbedError."""
    with tempfile.TemporaryDirectory(dir=files.parent) as work:
        root, inner = Path(work, "root"), Path(work, "work")
        for directory in (root, inner):
            directory.mkdir()
        options = f"lowerdir={_lower(layers)},upperdir={files},workdir={inner}"
        told = {"OVERLAY": options, "ROOT": str(root), "AUTHORITIES": str(AUTHORITIES)}
        words = [f"{name}={value}" for name, value in _environ().items()]
        inside = ["chroot", str(root), "/bin/sh", "-c", command]
        _call([*NAMESPACES, "sh", "-c", PREPARE, "sh", *words, *inside], os.environ | told)
        shutil.rmtree(inner, ignore_errors=True)


def copy(layers: Sequence[Path], sources: Sequence[str], target: str, files: Path) -> None:
    """Copy from *layers* to *target* in *files*, as COPY --from does. Raises TestbedError."""
    folder = files / target.lstrip("/")
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=files.parent) as work:
        root, empty = Path(work, "root"), Path(work, "empty")
        for directory in (root, empty):
            directory.mkdir()
        told = {"OVERLAY": f"lowerdir={_lower([empty, *layers])}", "ROOT": str(root)}
        _call([*NAMESPACES, "sh", "-c", COPY, "sh", str(folder), *sources], os.environ | told)


def _lower(layers: Sequence[Path]) -> str:
    """The topmost comes first."""
    return ":".join(str(layer) for layer in reversed(layers))


def _environ() -> dict[str, str]:
    """What a command in the image knows of this machine: how packages are reached, and nothing else."""
    passed_on = {name: os.environ[name] for name in (*PASSED_ON, *PROXIES) if name in os.environ}
    authorities = "/run/authorities.pem"
    trusted = {"PIP_CERT": authorities, "SSL_CERT_FILE": authorities} if AUTHORITIES.exists() else {}
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LANG": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_ROOT_USER_ACTION": "ignore",
        **trusted,
        **passed_on,
    }


def _call(command: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run it; what it says is shown only when it fails."""
    try:
        done = subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise TestbedError(f"the image cannot be built: {error}") from error
    if done.returncode != 0:
        said = "\n".join(done.stdout.decode(errors="replace").splitlines()[-30:])
        raise TestbedError(f"the image cannot be built (`make setup` does it where the network is): {said}")
