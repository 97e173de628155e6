"""Names of ingests, as containerd and others choose them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri.containerd.contents import digest_in, ingests_of
from daemon.cri.containerd.v1 import content_pb2 as pb
from daemon.cri.extras import Ingest

HEX = "7b4ce7930174e657e3e91bbc7ca0223c746db7c7626376f7d55460c336008716"
OTHER = "e96a1e42f3774a4268e3da769310f3c0d52944fee658c4610e314d29895647eb"


@pytest.mark.parametrize(
    "ref",
    [
        f"layer-sha256:{HEX}",
        f"config-sha256:{HEX}",
        f"manifest-sha256:{HEX}",
        f"unknown-sha256:{HEX}",
        f"index-registry.test/app:v1@sha256:{HEX}",
        f"k8s.io/3/layer-sha256:{HEX}",
        f"layer-sha256:{HEX}-part-2",
        f"layer-sha256:{OTHER}@sha256:{HEX}",
        f"sha256:{HEX}",
    ],
)
def test_the_digest_is_found_whatever_stands_around_it(ref: str) -> None:
    assert digest_in(ref) == f"sha256:{HEX}"


@pytest.mark.parametrize("ref", ["", "upload-1", f"sha256:{HEX[:-1]}", f"sha256:{HEX}0", f"md5:{HEX[:32]}"])
def test_a_name_without_a_digest_has_none(ref: str) -> None:
    assert digest_in(ref) == ""


@given(st.text())
def test_any_name_is_taken(ref: str) -> None:
    assert digest_in(ref) in ref


def test_a_blob_that_is_fetched_twice_is_as_far_as_the_further_one() -> None:
    statuses = [
        pb.Status(ref=f"layer-sha256:{HEX}", offset=5, total=10),
        pb.Status(ref=f"other-sha256:{HEX}", offset=7, total=10),
        pb.Status(ref=f"third-sha256:{HEX}", offset=6, total=10),
        pb.Status(ref="upload-1", offset=1, total=2),
    ]

    assert ingests_of(statuses) == (Ingest(f"sha256:{HEX}", 7, 10),)
