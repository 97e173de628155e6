"""QoS classes as Kubernetes gives them."""

from typing import Any

import pytest

from daemon.inplace.quality import quality_of

FULL = {"cpu": "1", "memory": "64Mi"}


@pytest.mark.parametrize(
    ("containers", "quality"),
    [
        ([{}], "BestEffort"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"ephemeral-storage": "1Gi"}}], "BestEffort"),
        ([{"requests": {"cpu": "1m"}}], "Burstable"),
        ([{"limits": FULL}], "Guaranteed"),
        ([{"limits": FULL, "requests": {"cpu": "1000m", "memory": "65536Ki"}}], "Guaranteed"),
        ([{"limits": FULL, "requests": {"cpu": "500m"}}], "Burstable"),
        ([{"limits": FULL}, {}], "Burstable"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
    ],
)
def test_the_class_follows_requests_and_limits(containers: list[dict[str, Any]], quality: str) -> None:
    spec = {"containers": [{"name": f"c{at}", "resources": each} for at, each in enumerate(containers)]}

    assert quality_of(spec) == quality


def test_init_containers_count_as_well() -> None:
    spec = {
        "containers": [{"name": "app", "resources": {"limits": FULL}}],
        "initContainers": [{"name": "setup"}],
    }

    assert quality_of(spec) == "Burstable"


def test_resources_of_the_whole_pod_decide_before_those_of_its_containers() -> None:
    spec = {"resources": {"limits": FULL}, "containers": [{"name": "app"}]}

    assert quality_of(spec) == "Guaranteed"
