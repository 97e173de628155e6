"""What a container would start with now, and what of it is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.objects.container_env import (
    expected,
    from_metadata,
    metadata_key,
    metadata_values,
    others,
    relevant_names,
    restartable,
)
from daemon.objects.local_pods import Container, EnvFrom, EnvSource, EnvVar, FieldRef, LocalPod, LocalPodSpec
from daemon.objects.meta import ObjectMeta

LABELS = {"tier": "gold", "app.kubernetes.io/name": "web"}
ANNOTATIONS = {"colour": "red", "it's": "quoted", "long": "line\nbreak = ü"}
COLOUR = EnvVar(
    name="COLOUR", value_from=EnvSource(field_ref=FieldRef(field_path="metadata.annotations['colour']"))
)
SECRET = EnvVar(name="SECRET", value_from=EnvSource())


def pod(**annotations: str) -> LocalPod:
    return LocalPod(
        metadata=ObjectMeta(name="web", labels=LABELS, annotations={**ANNOTATIONS, **annotations})
    )


def container(*env: EnvVar, **fields: object) -> Container:
    return Container(name="app", env=env, **fields)  # type: ignore[arg-type]


def literal(name: str, value: str) -> EnvVar:
    return EnvVar(name=name, value=value)


def field(name: str, path: str) -> EnvVar:
    return EnvVar(name=name, value_from=EnvSource(field_ref=FieldRef(field_path=path)))


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("metadata.labels['tier']", ("labels", "tier")),
        ("metadata.annotations['app.kubernetes.io/name']", ("annotations", "app.kubernetes.io/name")),
        ("metadata.annotations['it's']", ("annotations", "it's")),
        ("metadata.labels", None),
        ("metadata.labels['tier'", None),
        ("metadata.name", None),
        ("status.podIP", None),
        ("spec.labels['tier']", None),
        ("['tier']", None),
    ],
)
def test_paths_of_labels_and_annotations_are_known(path: str, key: object) -> None:
    assert metadata_key(path) == key


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.labels['tier']", "gold"),
        ("metadata.annotations['long']", "line\nbreak = ü"),
        ("metadata.annotations['none']", ""),
    ],
)
def test_a_variable_has_the_value_of_its_key_and_without_the_key_none(path: str, value: str) -> None:
    assert metadata_values(pod(), container(field("X", path))) == {"X": value}


def test_variables_that_refer_to_it_follow() -> None:
    of = container(
        COLOUR,
        literal("URL", "http://x/$(COLOUR)"),
        literal("TWICE", "$(URL)+$(COLOUR)"),
        literal("FIX", "1"),
    )

    assert expected(pod(), of, {}).env == {
        "COLOUR": "red",
        "URL": "http://x/red",
        "TWICE": "http://x/red+red",
    }


def test_a_reference_to_what_is_declared_later_stays_as_it_is() -> None:
    of = container(literal("URL", "http://x/$(COLOUR)"), COLOUR)

    assert expected(pod(), of, {"COLOUR": "red", "URL": "http://x/$(COLOUR)"}).env == {"COLOUR": "red"}


def test_what_comes_from_elsewhere_is_taken_as_the_container_has_it() -> None:
    of = container(SECRET, COLOUR, literal("URL", "$(SECRET)@$(COLOUR)"))

    assert expected(pod(), of, {"SECRET": "s3", "URL": "s3@blue"}).env == {"COLOUR": "red", "URL": "s3@red"}


def test_an_optional_key_that_is_not_there_leaves_the_reference() -> None:
    of = container(SECRET, COLOUR, literal("URL", "$(SECRET)@$(COLOUR)"))

    assert expected(pod(), of, {}).env["URL"] == "$(SECRET)@red"


def test_what_a_config_map_may_hold_too_is_not_compared() -> None:
    of = container(COLOUR, literal("URL", "$(LATER)$(COLOUR)"), literal("LATER", "x"), env_from=(EnvFrom(),))

    assert expected(pod(), of, {"LATER": "x"}).env == {"COLOUR": "red"}


def test_variables_of_services_are_known_from_the_container() -> None:
    of = container(COLOUR, literal("URL", "$(DB_SERVICE_HOST)/$(COLOUR)"))

    assert expected(pod(), of, {"DB_SERVICE_HOST": "10.0.0.1"}).env["URL"] == "10.0.0.1/red"


def test_the_last_of_two_variables_of_a_name_counts() -> None:
    assert from_metadata(container(COLOUR, literal("COLOUR", "fixed"))) == {}
    assert from_metadata(container(literal("COLOUR", "fixed"), COLOUR)) == {
        "COLOUR": ("annotations", "colour")
    }
    assert expected(pod(), container(COLOUR, literal("COLOUR", "fixed")), {}).env == {}


def test_a_literal_value_wins_over_a_source_as_in_the_kubelet() -> None:
    both = EnvVar(name="COLOUR", value="fixed", value_from=COLOUR.value_from)

    assert from_metadata(container(both)) == {}


def test_command_and_arguments_follow_their_variables() -> None:
    of = container(COLOUR, command=("run", "$$(COLOUR)"), args=("--c=$(COLOUR)", "$(NONE)"))

    found = expected(pod(), of, {})

    assert found.command_depends
    assert (found.command, found.args) == (("run", "$(COLOUR)"), ("--c=red", "$(NONE)"))


def test_a_command_without_such_a_variable_does_not_depend_on_the_pod() -> None:
    assert not expected(pod(), container(COLOUR, command=("run", "$$(COLOUR)")), {}).command_depends


def test_values_are_not_shown() -> None:
    assert "red" not in repr(expected(pod(), container(COLOUR, args=("$(COLOUR)",)), {}))


def test_openkruises_own_variables_are_left_alone() -> None:
    path = "metadata.annotations['version.sidecarset.kruise.io/app']"

    assert (
        from_metadata(container(field("SIDECARSET_VERSION", path), field("SIDECARSET_VERSION_ALT", path)))
        == {}
    )


def test_native_sidecars_count_and_other_init_containers_do_not() -> None:
    sidecar, init = Container(name="log", restart_policy="Always"), Container(name="init")
    of = LocalPod(
        metadata=ObjectMeta(name="web"),
        spec=LocalPodSpec(containers=(Container(name="app"),), init_containers=(init, sidecar)),
    )

    assert [each.name for each in restartable(of)] == ["log", "app"]


@pytest.mark.parametrize(
    ("of", "expected_answer"),
    [
        (container(COLOUR, literal("A", "b")), False),
        (container(SECRET), True),
        (container(field("IP", "status.podIP")), True),
        (container(env_from=(EnvFrom(),)), True),
    ],
)
def test_other_sources_are_told(of: Container, expected_answer: bool) -> None:
    assert others(of) is expected_answer


names_ = st.sampled_from(["A", "B", "COLOUR", "X"])
texts = st.text(alphabet="$()ABX -", max_size=8)
envs = st.lists(
    st.one_of(
        st.builds(literal, names_, texts),
        st.just(COLOUR),
        st.builds(EnvVar, name=names_, value_from=st.just(EnvSource())),
    ),
    max_size=6,
)


@given(envs, st.dictionaries(names_, texts), texts)
def test_only_relevant_values_of_the_running_container_matter(
    env: list[EnvVar], running: dict[str, str], arg: str
) -> None:
    of = container(*env, args=(arg,))
    relevant = relevant_names(of) | {each.name for each in env}

    kept = {name: value for name, value in running.items() if name in relevant_names(of)}

    assert relevant >= kept.keys()
    assert expected(pod(), of, running) == expected(pod(), of, kept)
