"""Where credentials come from, and in which order they are tried: the whole agent on real containerds."""

import base64
import json
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from aiohttp import web

from tests.testbed.access import Bearer, Refused
from tests.testbed.agent import Agent, pull_job, secret
from tests.testbed.containerd import Containerd
from tests.testbed.faulty import FaultyRegistry
from tests.testbed.fixtures import PASSWORD, USERNAME, MakeAgent
from tests.testbed.providers import Provider
from tests.testbed.pushing import ImageMaker
from tests.testbed.registry import Registry
from tests.testbed.session import Session, TestbedError
from tests.testbed.witness import Witness


@pytest.fixture
def provider(testbed: Session, private_registry: Registry) -> Provider:
    installed = Provider(testbed.new_directory("p"), private_registry.host)
    installed.install()
    return installed


def docker_config(**accounts: tuple[str, str]) -> str:
    """Text of a docker config.json: user and password by registry, or registry and path."""
    auths = {
        where: {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}
        for where, (user, password) in accounts.items()
    }
    return json.dumps({"auths": auths})


async def pulled(agent: Agent, name: str, ref: str) -> None:
    """Have the agent pull *ref* and wait for it."""
    agent.write(name, pull_job(name, ref))
    job = (await agent.ended(name))[name]
    assert job.succeeded == 1, await agent.pull(ref)


@pytest.mark.parametrize("measured", ["true", "false"])
async def test_a_plugin_of_the_kubelet_opens_a_private_registry_and_is_asked_once_while_its_answer_holds(
    make_agent: MakeAgent,
    containerd: Containerd,
    witness: Witness,
    provider: Provider,
    private_image_maker: ImageMaker,
    measured: str,
) -> None:
    images = [await private_image_maker.make_random(name, 2000) for name in ("one", "two")]
    provider.give(USERNAME, PASSWORD, cache_duration="1h")
    agent = await make_agent(
        containerd,
        credential_provider_config=str(provider.config),
        credential_provider_bin_dir=str(provider.plugins),
        measure_images=measured,
    )

    for image in images:
        await pulled(agent, image.repository.rpartition("/")[2], image.ref)

    assert provider.asked() == [images[0].name]
    assert all([await witness.image(image.ref) for image in images])
    assert PASSWORD not in agent.log


async def test_a_plugin_is_asked_again_once_its_answer_is_too_old(
    make_agent: MakeAgent, containerd: Containerd, provider: Provider, private_image_maker: ImageMaker
) -> None:
    one, two, three = [await private_image_maker.make_random(name, 2000) for name in ("one", "two", "three")]
    provider.give(USERNAME, PASSWORD, cache_duration="2s")
    agent = await make_agent(
        containerd,
        credential_provider_config=str(provider.config),
        credential_provider_bin_dir=str(provider.plugins),
        measure_images="false",
    )

    await pulled(agent, "one", one.ref)
    provider.give(USERNAME, PASSWORD, cache_duration="1h")
    old = (await agent.view()).now + timedelta(seconds=2)
    await agent.until(lambda view: view.now > old, "too old")
    await pulled(agent, "two", two.ref)
    await pulled(agent, "three", three.ref)

    assert provider.asked() == [one.name, two.name]


async def test_an_answer_that_may_not_be_kept_is_asked_for_at_each_attempt(
    make_agent: MakeAgent, containerd: Containerd, provider: Provider, private_image_maker: ImageMaker
) -> None:
    made = await private_image_maker.make_random("app", 2000)
    provider.give(USERNAME, "a wrong password", cache_duration="0s")
    agent = await make_agent(
        containerd,
        credential_provider_config=str(provider.config),
        credential_provider_bin_dir=str(provider.plugins),
        measure_images="false",
    )

    agent.write("app", pull_job("app", made.ref, pullPolicy={"backoffLimit": 100}))
    await agent.until(lambda view: any(pull.failures for pull in view.pulls), "refused")
    provider.give(USERNAME, PASSWORD, cache_duration="0s")
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1
    assert len(provider.asked()) >= 2


async def test_the_docker_config_of_the_node_serves_every_pull_and_is_read_anew(
    make_agent: MakeAgent, containerd: Containerd, testbed: Session, private_image_maker: ImageMaker
) -> None:
    made = await private_image_maker.make_random("app", 2000)
    config = testbed.new_directory("d") / "config.json"
    config.write_text(docker_config(**{made.host: (USERNAME, "a wrong password")}))
    agent = await make_agent(containerd, docker_config=str(config))

    agent.write("app", pull_job("app", made.ref, pullPolicy={"backoffLimit": 100}))
    view = await agent.until(lambda view: any(pull.failures for pull in view.pulls), "refused")
    config.write_text(docker_config(**{made.host: (USERNAME, PASSWORD)}))
    job = (await agent.ended("app"))["app"]

    assert view.pulls[0].reason == "Unauthorized"
    assert job.succeeded == 1
    assert PASSWORD not in agent.log + (await agent.get("/flagz")).decode()


async def test_a_docker_config_that_cannot_be_read_is_told_and_hinders_no_public_image(
    make_agent: MakeAgent, containerd: Containerd, testbed: Session, image_maker: ImageMaker
) -> None:
    made = await image_maker.make_random("app", 2000)
    config = testbed.new_directory("d") / "config.json"
    config.write_text("{")
    agent = await make_agent(containerd, docker_config=str(config))

    await pulled(agent, "app", made.ref)

    assert "docker config unusable" in agent.log
    assert str(config) in agent.log


@dataclass
class Doorman:
    """Lets one account in, by basic auth, and keeps the names of all that tried, in order."""

    wanted: str
    tried: list[str] = field(default_factory=list)

    def admit(self, request: web.Request) -> str | Refused:
        _, _, text = request.headers.get("Authorization", "").partition(" ")
        name = base64.b64decode(text).decode().partition(":")[0]
        self.tried.append(name)
        return name if name == self.wanted else Refused('Basic realm="testbed"')

    def accounts(self) -> list[str]:
        """Who tried, once each; clients ask without a name first, to learn what is asked for."""
        return list(dict.fromkeys(name for name in self.tried if name))


async def test_all_credentials_are_tried_from_the_closest_to_the_widest(
    make_agent: MakeAgent,
    containerd: Containerd,
    testbed: Session,
    faulty_registry: FaultyRegistry,
    faulty_image_maker: ImageMaker,
) -> None:
    made = await faulty_image_maker.make_random("app", 2000)
    faulty_registry.access = doorman = Doorman("plugin")
    config = testbed.new_directory("d") / "config.json"
    config.write_text(docker_config(**{made.host: ("node", "x")}))
    provider = Provider(testbed.new_directory("p"), made.host)
    provider.install()
    provider.give("plugin", "x", cache_duration="1h")
    agent = await make_agent(
        containerd,
        docker_config=str(config),
        credential_provider_config=str(provider.config),
        credential_provider_bin_dir=str(provider.plugins),
        measure_images="false",
    )
    secrets = [secret("wide", made.host, "wide", "x"), secret("close", made.name, "close", "x")]

    agent.write("app", *secrets, pull_job("app", made.ref, pullSecrets=["wide", "close"]))
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1, await agent.pull(made.ref)
    assert doorman.accounts() == ["close", "wide", "node", "plugin"]
    assert (await agent.pull(made.ref)).failures == 0


@pytest.mark.parametrize("measured", ["true", "false"])
async def test_when_no_credential_is_taken_the_image_comes_without_one(
    make_agent: MakeAgent,
    containerd: Containerd,
    faulty_registry: FaultyRegistry,
    faulty_image_maker: ImageMaker,
    measured: str,
) -> None:
    made = await faulty_image_maker.make_random("app", 2000)
    faulty_registry.access = bearer = Bearer(anonymous=True)
    agent = await make_agent(containerd, measure_images=measured)
    useless = [secret(name, made.host, name, "x") for name in ("one", "two")]

    agent.write("app", *useless, pull_job("app", made.ref, pullSecrets=["one", "two"]))
    job = (await agent.ended("app"))["app"]

    assert job.succeeded == 1, await agent.pull(made.ref)
    assert (await agent.pull(made.ref)).failures == 0
    assert len(bearer.grants) >= 3


async def test_an_identity_token_opens_what_its_account_may_see(
    make_agent: MakeAgent,
    containerd: Containerd,
    testbed: Session,
    faulty_registry: FaultyRegistry,
    faulty_image_maker: ImageMaker,
) -> None:
    made = await faulty_image_maker.make_random("app", 2000)
    faulty_registry.access = Bearer(identity_tokens=["a-refresh-token"])
    config = testbed.new_directory("d") / "config.json"
    config.write_text(json.dumps({"auths": {made.host: {"identitytoken": "a-refresh-token"}}}))
    agent = await make_agent(containerd, docker_config=str(config))

    await pulled(agent, "app", made.ref)

    assert {served.user for served in faulty_registry.requests("/blobs/")} == {"identity-token"}
    assert "a-refresh-token" not in agent.log


async def test_a_plugin_that_is_not_there_ends_the_agent_with_its_place(
    testbed: Session, containerd: Containerd, provider: Provider
) -> None:
    (provider.plugins / "testbed-provider").unlink()
    flags = {
        "credential-provider-config": str(provider.config),
        "credential-provider-bin-dir": str(provider.plugins),
    }
    agent = Agent(testbed.new_directory("a"), [containerd.socket], testbed.certificates, flags)

    with pytest.raises(TestbedError, match="does not answer"):
        await agent.start()

    assert not agent.running
    assert f"{provider.config}: providers[0].name must be an executable file in" in agent.log
