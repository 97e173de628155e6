"""Label selectors on the command line: what is typed is what kubectl would understand."""

import pytest

from daemon.cli.errors import UsageError
from daemon.cli.pod_targets import selector_of
from daemon.objects.meta import selects

WEB = {"app": "web", "zone": "a", "example.com/pool": "x"}


@pytest.mark.parametrize(
    "text",
    [
        "app=web",
        "app==web",
        "app = web , zone=a",
        "app!=db",
        "missing!=anything",
        "zone in (a,b)",
        "zone in ( a , b ),app=web",
        "zone notin (c,d),example.com/pool",
        "!old,app",
        "example.com/pool=x",
        "app=web,app=web",
    ],
)
def test_labels_that_fit_are_found(text: str) -> None:
    assert selects(selector_of(text), WEB)


@pytest.mark.parametrize(
    "text", ["app=db", "app!=web", "zone in (b)", "zone notin (a)", "!app", "old", "app="]
)
def test_labels_that_do_not_are_not(text: str) -> None:
    assert not selects(selector_of(text), WEB)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "''"),
        ("app=web,", "''"),
        ("=web", "'=web'"),
        ("app=web,zone in a", "'zone in a'"),
        ("zone in (a", "'zone in (a'"),
        ("app>1", "'app>1'"),
        ("!app=web", "'!app=web'"),
        ("app=web tier", "'app=web tier'"),
    ],
)
def test_what_is_no_label_is_named_beside_what_is_allowed(text: str, part: str) -> None:
    with pytest.raises(UsageError, match="allowed are labels as in") as caught:
        selector_of(text)

    assert f"{part} is not allowed" in str(caught.value)


def test_one_label_with_two_values_is_a_mistake() -> None:
    with pytest.raises(UsageError, match="no app has two values"):
        selector_of("app=web,app=db")
