"""Volume claims are found by the pod that they belong to, without a look at those of others."""

from daemon import names
from daemon.kube.cache import Cache
from daemon.localpods.indexes import BY_CONTROLLER
from daemon.objects.meta import ObjectMeta, OwnerReference
from daemon.objects.revisions import PersistentVolumeClaim
from daemon.workloads.clonesets.claiming import controllers_of, instances_of
from daemon.workloads.clonesets.surroundings import BY_INSTANCE, instance


def claim(name: str, set_uid: str, id_: str) -> PersistentVolumeClaim:
    owner = OwnerReference(kind="CloneSet", name="web", uid=set_uid, api_version="v1", controller=True)
    labels = {names.INSTANCE_ID_LABEL: id_} if id_ else {}
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name=name, uid=name, resource_version="1", labels=labels, owner_references=(owner,)
        )
    )


def test_the_claims_of_one_pod_are_those_of_its_id_in_its_set() -> None:
    claims: Cache[PersistentVolumeClaim] = Cache({BY_CONTROLLER: controllers_of, BY_INSTANCE: instances_of})
    for made in (
        claim("data-a", "web", "a"),
        claim("logs-a", "web", "a"),
        claim("data-b", "web", "b"),
        claim("other-a", "api", "a"),
        claim("unlabelled", "web", ""),
    ):
        claims.put(made)

    found = claims.indexed(BY_INSTANCE, instance("web", "a"))

    assert [each.metadata.name for each in found] == ["data-a", "logs-a"]
    assert claims.indexed(BY_INSTANCE, instance("web", "")) == ()
