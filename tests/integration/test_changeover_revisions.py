"""Revisions of OpenKruise's manager and ours are the same: changing over rolls nothing out."""

import pytest

from tests.testbed.go_documents import go_json, short_name, stored_template
from tests.testbed.handed_over import AT_ONCE, REVISIONS, HandedOver, containers
from tests.testbed.restarting import Restarting
from tests.testbed.sets import identity, status_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_same_manifest_without_defaults_changes_nothing(
    bed: Restarting, left: HandedOver, set_images: tuple[str, str]
) -> None:
    """The webhook that filled them in is gone, and appliers replace a list of containers as a whole."""
    stored = stored_template(left.web.name, containers(set_images[0]))
    await left.store(stored, replicas=1, updateStrategy=AT_ONCE)
    await left.pod("same")
    (before,) = (await left.pods()).values()
    bare = {key: stored["spec"][key] for key in ("terminationGracePeriodSeconds", "volumes")}
    spec = {**dict.fromkeys(stored["spec"]), **bare, "containers": containers(set_images[0])}

    await bed.start()
    await left.web.settled()
    await left.web.patch(template={"metadata": stored["metadata"], "spec": spec})
    await left.web.settled()
    (after,) = (await left.pods()).values()

    assert (await left.web.stored())["spec"]["template"]["spec"].keys() == {*bare, "containers"}
    assert await left.revisions_now() == left.revisions
    assert identity(after) == identity(before)
    assert status_of(after)["containerID"] == status_of(before)["containerID"]


async def test_a_revision_of_ours_is_the_one_that_openkruises_manager_would_make(
    bed: Restarting, left: HandedOver, set_images: tuple[str, str]
) -> None:
    """It looks for the very bytes, and would roll out anew, by other pods, what it does not find."""
    stored = stored_template(left.web.name, containers(set_images[0]))
    await left.store(stored, replicas=1, updateStrategy=AT_ONCE)
    await left.pod("same")
    await bed.start()
    await left.web.settled()

    await left.web.set_image(set_images[1])
    await left.web.settled()
    template = (await left.web.stored())["spec"]["template"]
    data = {"spec": {"template": {**template, "$patch": "replace"}}}
    name = f"{left.web.name}-{short_name(data)}"
    made = await left.revisions_now()
    await left.web.set_image(set_images[0])
    await left.web.settled()
    (pod,) = await left.web.pods()

    assert made == [*left.revisions, name]
    assert await left.revisions_now() == [name, *left.revisions]
    assert status_of(pod)["restartCount"] == 2
    raw = await left.web.api.kubectl("get", "--raw", f"{REVISIONS}/{name}")
    assert f'"data":{go_json(data)},"revision":2' in raw
