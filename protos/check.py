# ruff: noqa: INP001 - a tool, never imported
"""Fails when the generated code is not what the .proto files give: ``python -m protos.check``."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = ("daemon/cri/v1", "daemon/cri/containerd/v1")
PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_grpc.py")


def main() -> int:
    """Generate anew beside the checkout and compare. 0 when nothing differs."""
    with tempfile.TemporaryDirectory() as fresh:
        environ = os.environ | {"PYTHON": sys.executable}
        subprocess.run([HERE / "generate.sh", fresh], check=True, timeout=120, env=environ)  # noqa: S603 - ours
        differing = [
            name for name in PACKAGES if _generated(HERE.parent / name) != _generated(Path(fresh, name))
        ]
    for name in differing:
        sys.stderr.write(f"{name} differs from its .proto files: run `make proto` and commit the result\n")
    return 1 if differing else 0


def _generated(package: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for pattern in PATTERNS for path in package.glob(pattern)}


if __name__ == "__main__":
    sys.exit(main())
