"""What a trial of a template says of it, by the field of the set that it comes from."""

from daemon.kube.errors import RefusedError, StatusCause
from daemon.workloads.clonesets.revision_writes import in_template, judgement


def refused(message: str, *causes: tuple[str, str]) -> RefusedError:
    error = RefusedError("create pods", status=422, reason="Invalid", message=message)
    error.causes = tuple(StatusCause(field=field, message=words) for field, words in causes)
    return error


def test_each_wrong_field_is_named_as_it_stands_in_the_set() -> None:
    error = refused("is invalid", ("spec.containers[0].image", "Required value"), ("metadata.labels", "Bad"))

    assert in_template(error) == (
        "spec.template.spec.containers[0].image: Required value; spec.template.metadata.labels: Bad"
    )


def test_what_has_no_fields_is_told_as_the_server_says_it() -> None:
    assert in_template(refused("cannot be handled as a Pod")) == "cannot be handled as a Pod"


def test_a_template_that_is_refused_is_invalid() -> None:
    found = judgement(refused("cannot be handled as a Pod"))

    assert found is not None
    assert (found.reason, found.message) == ("InvalidTemplate", "cannot be handled as a Pod")


def test_a_webhook_that_cannot_be_tried_says_nothing_of_the_template() -> None:
    assert judgement(refused('admission webhook "x.example" does not support dry run')) is None
