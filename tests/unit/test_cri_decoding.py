"""Messages of CRI as this project's data, and back."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri import decoding, types
from daemon.cri.types import Auth, ContainerState, Resources
from daemon.cri.v1 import runtime_pb2 as pb

INT64 = st.integers(-(2**63), 2**63 - 1)
MAPS = st.dictionaries(st.text(), st.text(), max_size=3)


def test_times_are_utc() -> None:
    moment = decoding.moment(1_767_225_600_500_000_000)

    assert moment == datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)


def test_zero_is_no_time() -> None:
    assert decoding.moment(0) is None


@given(INT64)
def test_any_number_is_a_time_or_none(nanoseconds: int) -> None:
    moment = decoding.moment(nanoseconds)

    assert moment is None or moment.tzinfo is UTC


@pytest.mark.parametrize("state", ContainerState)
def test_states_survive_the_way_to_the_wire_and_back(state: ContainerState) -> None:
    message = pb.Container(state=decoding.state_value(state).state)

    assert decoding.container(message).state is state


def test_a_state_that_is_not_known_yet_is_unknown() -> None:
    message = pb.Container()
    message.ParseFromString(b"\x30\x63")  # field 6, value 99

    assert decoding.container(message).state is ContainerState.UNKNOWN


@given(
    st.builds(
        Resources,
        cpu_period=INT64,
        cpu_quota=INT64,
        cpu_shares=INT64,
        memory_limit=INT64,
        memory_swap_limit=INT64,
        oom_score_adj=INT64,
        cpuset_cpus=st.text(),
        cpuset_mems=st.text(),
        unified=MAPS,
    )
)
def test_resources_survive_the_way_to_the_wire_and_back(resources: Resources) -> None:
    linux = decoding.linux_resources(resources)
    reply = pb.ContainerStatusResponse(
        status=pb.ContainerStatus(resources=pb.ContainerResources(linux=linux))
    )

    assert decoding.container_status(reply).resources == resources


def test_a_runtime_that_reports_no_resources_is_told_from_one_without_limits() -> None:
    silent = pb.ContainerStatusResponse(status=pb.ContainerStatus(id="c"))
    unlimited = pb.ContainerStatusResponse(
        status=pb.ContainerStatus(resources=pb.ContainerResources(linux=pb.LinuxContainerResources()))
    )

    assert decoding.container_status(silent).resources is None
    assert decoding.container_status(unlimited).resources == Resources()


def test_numbers_that_the_runtime_does_not_know_are_none_and_not_zero() -> None:
    usage = pb.FilesystemUsage(fs_id=pb.FilesystemIdentifier(mountpoint="/var"), inodes_used=pb.UInt64Value())

    decoded = decoding.image_filesystems(pb.ImageFsInfoResponse(image_filesystems=[usage]))

    assert decoded == (types.FsUsage("/var", None, 0),)


@given(st.builds(pb.ContainerStatusResponse, info=MAPS))
def test_an_empty_answer_is_decoded_without_surprises(reply: pb.ContainerStatusResponse) -> None:
    status = decoding.container_status(reply)

    assert status.id == ""
    assert status.started_at is None
    assert status.info == dict(reply.info)


def test_every_field_of_credentials_is_sent() -> None:
    auth = Auth("user", "password", "auth", "server", "identity", "registry")

    message = decoding.auth_config(auth)

    assert {field.name: value for field, value in message.ListFields()} == {
        "username": "user",
        "password": "password",
        "auth": "auth",
        "server_address": "server",
        "identity_token": "identity",
        "registry_token": "registry",
    }


def test_credentials_do_not_show_themselves() -> None:
    auth = Auth("user1", "password1", "auth1", "server1", "identity1", "registry1")

    assert repr(auth) == "Auth()"


def test_all_addresses_of_a_sandbox_are_told() -> None:
    network = pb.PodSandboxNetworkStatus(ip="10.0.0.1", additional_ips=[pb.PodIP(ip="fd00::1")])
    reply = pb.PodSandboxStatusResponse(status=pb.PodSandboxStatus(network=network))

    assert decoding.sandbox_status(reply).ips == ("10.0.0.1", "fd00::1")


def test_a_sandbox_that_stopped_is_not_ready() -> None:
    assert decoding.sandbox(pb.PodSandbox(state=pb.SANDBOX_NOTREADY)).ready is False
