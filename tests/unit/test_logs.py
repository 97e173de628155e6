"""What a log line looks like, and what never stands in one."""

import io
import json
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from daemon import logs

SECRET = "Zq7-hunter2"
FORMS = ("json", "text")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _quiet_afterwards() -> Iterator[None]:
    root = logging.getLogger()
    before = root.level
    yield
    structlog.reset_defaults()
    root.setLevel(before)
    for handler in set(root.handlers):
        if handler.__class__.__module__ == logs.__name__:
            root.removeHandler(handler)


def written(form: str, event: str = "it happened", level: str = "info", **values: Any) -> str:
    stream = io.StringIO()
    logs.configure(level="debug", form=form, stream=stream)  # type: ignore[arg-type]  # of FORMS
    getattr(structlog.get_logger(), level)(event, **values)
    return stream.getvalue()


def line(**values: Any) -> dict[str, Any]:
    text = written("json", **values)
    assert text.count("\n") == 1
    read: dict[str, Any] = json.loads(text)
    return read


def test_a_line_of_json_has_time_level_and_event() -> None:
    found = line(node="n1", count=3)

    stamp = found.pop("timestamp")
    assert stamp.endswith("Z")
    assert found == {"event": "it happened", "level": "info", "node": "n1", "count": 3}


def test_text_is_one_line_that_a_person_can_read() -> None:
    text = written("text", node="n1", words="a b")

    assert text.count("\n") == 1
    assert "it happened" in text
    assert "node=n1" in text
    assert "words='a b'" in text


@pytest.mark.parametrize(("stream", "is_json"), [(io.StringIO(), True), (Terminal(), False)])
def test_auto_is_text_on_a_terminal_and_json_elsewhere(stream: io.StringIO, is_json: bool) -> None:
    logs.configure(level="info", form="auto", stream=stream)

    structlog.get_logger().info("it happened")

    assert stream.getvalue().startswith("{") is is_json


def test_lower_levels_are_left_out() -> None:
    stream = io.StringIO()
    logs.configure(level="warning", form="json", stream=stream)

    structlog.get_logger().info("small")
    structlog.get_logger().warning("large")

    assert [json.loads(each)["event"] for each in stream.getvalue().splitlines()] == ["large"]


def test_what_was_bound_to_the_context_is_in_the_line() -> None:
    with structlog.contextvars.bound_contextvars(controller="images", key="n1"):
        found = line()

    assert (found["controller"], found["key"]) == ("images", "n1")


class Broken:
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


@dataclass
class Login:
    password: str


CYCLE: list[Any] = []
CYCLE.append(CYCLE)
DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]

ODD = {
    "object": (object(), "<object object"),
    "path": (Path("/a"), "/a"),
    "error": (ValueError("no"), "no"),
    "broken": (Broken(), "<Broken that cannot be shown>"),
    "not a number": (math.nan, "nan"),
    "infinite": (-math.inf, "-inf"),
    "too long for digits": (10**5000, "<int that cannot be shown>"),
    "bytes": (b"a\xff", "a\N{REPLACEMENT CHARACTER}"),
    "half a character": ("\udcff", "\udcff"),
    "set": ({1}, [1]),
    "tuple": ((1, (2,)), [1, [2]]),
    "keys": ({(1, 2): None, 3: True}, {"(1, 2)": None, "3": True}),
}


@pytest.mark.parametrize(("value", "shown"), ODD.values(), ids=ODD)
def test_a_value_of_any_kind_can_be_logged(value: object, shown: object) -> None:
    found = line(value=value)["value"]

    assert found.startswith(shown) if isinstance(shown, str) else found == shown


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [CYCLE, DEEP], ids=["cycle", "deep"])
def test_endless_values_end(form: str, value: object) -> None:
    assert "it happened" in written(form, value=value)


PLACES: dict[str, Callable[[str], dict[str, Any]]] = {
    "secret key": lambda secret: {"password": secret},
    "object under a secret key": lambda secret: {"auth": ["user", {"a": secret}]},
    "nested secret key": lambda secret: {"request": [{"headers": {"Authorization": secret}}]},
    "key that is a url": lambda secret: {"seen": {f"https://u:{secret}@r.test": 1}},
    "url": lambda secret: {"url": f"https://u:{secret}@r.test/v2/"},
    "header in a text": lambda secret: {"error": f"sent Authorization: Bearer {secret}, got 401"},
    "error": lambda secret: {"error": ValueError(f"bad password={secret!r}")},
    "bytes": lambda secret: {"body": f'{{"token": "{secret}"}}'.encode()},
    "object": lambda secret: {"login": Login(secret)},
    "set": lambda secret: {"urls": {f"https://u:{secret}@r.test"}},
    "below the depth that is kept": lambda secret: {"deep": nested(f"https://u:{secret}@r.test")},
    "secret key below the depth": lambda secret: {"deep": nested({"password": secret})},
    "event": lambda secret: {"event": f"token={secret}"},
}


def nested(value: object) -> object:
    for _ in range(30):
        value = [value]
    return value


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", PLACES)
@given(secret=st.text("abcxyz0189._~-", min_size=1, max_size=20))
def test_a_secret_is_in_no_line_wherever_it_was_put(form: str, place: str, secret: str) -> None:
    text = written(form, **PLACES[place](f"{SECRET}{secret}"))

    assert SECRET not in text


def login(password: str) -> None:
    try:
        dict[str, str]()[f"https://u:{password}@r.test"]
    except KeyError as error:
        error.add_note(f"token={password}")
        raise ExceptionGroup("both", [ValueError(f"secret={password}"), error]) from error


@pytest.mark.parametrize("form", FORMS)
def test_an_exception_shows_no_secret_of_its_text_causes_notes_or_variables(form: str) -> None:
    stream = io.StringIO()
    logs.configure(level="info", form=form, stream=stream)  # type: ignore[arg-type]  # of FORMS

    try:
        login(SECRET)
    except ExceptionGroup:
        structlog.get_logger().exception("it failed")

    text = stream.getvalue()
    assert SECRET not in text
    for words in ("it failed", "ExceptionGroup", "KeyError", "ValueError", "login"):
        assert words in text


def test_an_exception_is_one_line_of_json_with_its_frames_but_no_variables() -> None:
    stream = io.StringIO()
    logs.configure(level="info", form="json", stream=stream)

    try:
        login(SECRET)
    except ExceptionGroup:
        structlog.get_logger().exception("it failed")

    assert stream.getvalue().count("\n") == 1
    (outer,) = json.loads(stream.getvalue())["exception"]
    assert [frame["name"] for frame in outer["frames"]][-1] == "login"
    assert all("locals" not in frame for frame in outer["frames"])


@pytest.mark.parametrize("form", FORMS)
def test_what_libraries_log_is_redacted_in_the_same_form(form: str) -> None:
    stream = io.StringIO()
    logs.configure(level="info", form=form, stream=stream)  # type: ignore[arg-type]  # of FORMS

    logging.getLogger("library").info("too small")
    logging.getLogger("library").warning("got %s", f"https://u:{SECRET}@r.test")

    text = stream.getvalue()
    assert SECRET not in text
    assert "too small" not in text
    assert "https://***@r.test" in text
    assert text.startswith("{") is (form == "json")


def test_a_wrong_format_of_a_library_is_logged_as_it_stands() -> None:
    stream = io.StringIO()
    logs.configure(level="info", form="json", stream=stream)
    wrong = {"msg": "wrong %d", "args": ("format",), "levelno": logging.ERROR, "name": "library"}

    logging.getLogger().handlers[-1].handle(logging.makeLogRecord(wrong))

    found = json.loads(stream.getvalue())
    assert (found["event"], found["level"], found["logger"]) == ("wrong %d", "error", "library")


def test_configuring_twice_does_not_double_what_libraries_log() -> None:
    stream = io.StringIO()
    for _ in range(2):
        logs.configure(level="info", form="json", stream=stream)

    logging.getLogger("library").warning("once")

    assert stream.getvalue().count("once") == 1
