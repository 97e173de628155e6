"""Selectors and conditions, as Kubernetes reads and writes them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.objects.meta import (
    Condition,
    Key,
    LabelSelector,
    LabelSelectorRequirement,
    ObjectMeta,
    condition_of,
    selects,
    with_conditions,
)

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("operator", "values", "labels", "matches"),
    [
        ("In", ("a", "b"), {"k": "a"}, True),
        ("In", ("a", "b"), {"k": "c"}, False),
        ("In", ("a",), {}, False),
        ("NotIn", ("a",), {"k": "a"}, False),
        ("NotIn", ("a",), {"k": "b"}, True),
        ("NotIn", ("a",), {}, True),
        ("Exists", (), {"k": ""}, True),
        ("Exists", (), {"other": "a"}, False),
        ("DoesNotExist", (), {}, True),
        ("DoesNotExist", (), {"k": ""}, False),
    ],
)
def test_an_expression_selects_as_in_kubernetes(
    operator: str, values: tuple[str, ...], labels: Mapping[str, str], matches: bool
) -> None:
    requirement = LabelSelectorRequirement(key="k", operator=operator, values=values)  # type: ignore[arg-type]

    assert selects(LabelSelector(match_expressions=(requirement,)), labels) is matches


def test_all_parts_of_a_selector_must_match() -> None:
    selector = LabelSelector(
        match_labels={"a": "1", "b": "2"},
        match_expressions=(
            LabelSelectorRequirement(key="c", operator="Exists"),
            LabelSelectorRequirement(key="d", operator="DoesNotExist"),
        ),
    )

    assert selects(selector, {"a": "1", "b": "2", "c": "", "x": "y"})
    for wrong in ({"a": "1", "c": ""}, {"a": "1", "b": "3", "c": ""}, {"a": "1", "b": "2"}):
        assert not selects(selector, wrong)
    assert not selects(selector, {"a": "1", "b": "2", "c": "", "d": ""})


@given(st.dictionaries(st.text(), st.text()))
def test_an_empty_selector_selects_everything(labels: dict[str, str]) -> None:
    assert selects(LabelSelector(), labels)


KEYS = st.sampled_from("abc")
EXPRESSIONS = st.builds(
    LabelSelectorRequirement,
    key=KEYS,
    operator=st.sampled_from(["In", "Exists"]),
    values=st.lists(KEYS, max_size=2).map(tuple),
)
OPPOSITE = {"In": "NotIn", "Exists": "DoesNotExist"}


@given(EXPRESSIONS, st.dictionaries(KEYS, KEYS))
def test_an_operator_and_its_opposite_never_agree(
    expression: LabelSelectorRequirement, labels: dict[str, str]
) -> None:
    opposite = msgspec.structs.replace(expression, operator=OPPOSITE[expression.operator])

    one = selects(LabelSelector(match_expressions=(expression,)), labels)
    other = selects(LabelSelector(match_expressions=(opposite,)), labels)

    assert one is not other


def condition(status: str = "True", reason: str = "Done", type_: str = "Ready") -> Condition:
    return Condition(type=type_, status=status, reason=reason)  # type: ignore[arg-type]


def test_a_new_condition_has_changed_now() -> None:
    (made,) = with_conditions((), [condition()], NOW)

    assert made == msgspec.structs.replace(condition(), last_transition_time=NOW)


@pytest.mark.parametrize(("status", "moved"), [("True", NOW), ("False", LATER), ("Unknown", LATER)])
def test_the_transition_time_moves_only_with_the_status(status: str, moved: datetime) -> None:
    before = with_conditions((), [condition("True", "Old")], NOW)

    (after,) = with_conditions(before, [condition(status, "New")], LATER)

    assert (after.status, after.reason, after.last_transition_time) == (status, "New", moved)


def test_a_condition_without_a_time_gets_one() -> None:
    (after,) = with_conditions([condition()], [condition()], LATER)

    assert after.last_transition_time == LATER


def test_conditions_of_other_types_stay_and_the_order_too() -> None:
    before = with_conditions((), [condition(type_="Ready"), condition(type_="Stalled")], NOW)

    after = with_conditions(before, [condition("False", type_="Ready"), condition(type_="Fresh")], LATER)

    assert [each.type for each in after] == ["Ready", "Stalled", "Fresh"]
    assert after[1] == before[1]


CONDITIONS = st.lists(
    st.builds(
        condition, st.sampled_from(["True", "False", "Unknown"]), KEYS, st.sampled_from(["Ready", "Stalled"])
    ),
    max_size=3,
)


@given(CONDITIONS, CONDITIONS)
def test_telling_the_same_again_changes_nothing(before: list[Condition], wanted: list[Condition]) -> None:
    once = with_conditions(before, wanted, NOW)

    assert with_conditions(once, wanted, LATER) == once
    assert len({each.type for each in once}) == len(once)


def test_a_condition_is_found_by_its_type() -> None:
    conditions = [condition(type_="Ready"), condition(type_="Stalled")]

    assert condition_of(conditions, "Stalled") == conditions[1]
    assert condition_of(conditions, "Fresh") is None


@pytest.mark.parametrize(("namespace", "shown"), [("default", "default/web"), ("", "web")])
def test_a_key_is_shown_as_kubectl_does(namespace: str, shown: str) -> None:
    key = ObjectMeta(name="web", namespace=namespace).key

    assert key == Key(namespace, "web")
    assert str(key) == shown


def test_on_the_wire_names_are_camel_case_and_defaults_are_left_out() -> None:
    made = ObjectMeta(name="web", resource_version="7", creation_timestamp=NOW)

    assert msgspec.json.decode(msgspec.json.encode(made)) == {
        "name": "web",
        "resourceVersion": "7",
        "creationTimestamp": "2026-05-01T00:00:00Z",
    }


def test_a_condition_has_all_its_fields_on_the_wire() -> None:
    fields = msgspec.json.decode(msgspec.json.encode(condition()))

    assert fields.keys() == {
        "type",
        "status",
        "reason",
        "message",
        "observedGeneration",
        "lastTransitionTime",
    }
