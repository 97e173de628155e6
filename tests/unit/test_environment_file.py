"""The environment file of the systemd unit, which tells every setting."""

from pathlib import Path

from daemon.config import StandaloneConfig
from daemon.settings import environment_file

FILE = Path(__file__).parents[2] / "systemd/inplaced.env"


def test_the_environment_file_has_every_setting() -> None:
    generated = environment_file(StandaloneConfig, {"manifests": "/etc/inplaced/manifests"})

    assert FILE.read_text(encoding="utf-8") == generated
