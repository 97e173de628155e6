"""Credentials are taken out of texts by their form, wherever they stand."""

import base64
import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from daemon.redaction import is_secret, redacted

SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=6, max_size=30)
"""Hidden in a mark, which no template, escape or chance can make."""
MARK = "Zq7"

PLACES: dict[str, Callable[[str], str]] = {
    "url": lambda secret: f"Get https://user:{_plain(secret)}@registry.test/v2/: EOF",
    "url, user only": lambda secret: f"Get https://{_plain(secret)}@registry.test/v2/: EOF",
    "url with an @ in the password": lambda secret: f"https://u:a@{_plain(secret)}@registry.test/v2/",
    "basic header": lambda secret: f"Authorization: Basic {_base64(secret)}",
    "bearer header": lambda secret: f"authorization: bearer {_plain(secret)}",
    "headers of Go": lambda secret: f"map[Authorization:[Bearer {_plain(secret)}] Accept:[*/*]]",
    "headers of Python": lambda secret: repr({"Authorization": f"Basic {_base64(secret)}"}),
    "query": lambda secret: f"https://r.test/token?service=x&access_token={_plain(secret)}&a=b",
    "signed url": lambda secret: f"https://s3.test/b?X-Amz-Signature={_plain(secret)}&X-Amz-Date=1",
    "json": lambda secret: json.dumps({"auths": {"r.test": {"auth": secret}}}),
    "json, not escaped": lambda secret: json.dumps({"identitytoken": secret}, ensure_ascii=False),
    "json in json": lambda secret: json.dumps({"body": json.dumps({"password": secret, "a": "b"})}),
    "dict": lambda secret: repr({"client_secret": secret, "a": 1}),
    "dict of bytes": lambda secret: repr({"password": secret.encode()}),
    "object": lambda secret: f"Auth(username='u', password={secret!r})",
    "secret manifest": lambda secret: yaml.safe_dump({"data": {".dockerconfigjson": _base64(secret)}}),
    "yaml": lambda secret: yaml.safe_dump([{"password": _plain(secret)}], width=1000),
}


def _plain(secret: str) -> str:
    """A secret of the letters that a token, or the password in a URL, is made of."""
    return "".join(letter for letter in secret if letter.isascii() and letter.isalnum())


def _base64(secret: str) -> str:
    return base64.b64encode(secret.encode()).decode()


@pytest.mark.parametrize("place", PLACES)
@given(before=SECRETS, after=SECRETS)
def test_no_secret_survives_in_any_place(place: str, before: str, after: str) -> None:
    secret = f"{before}{MARK}{after}"
    text = PLACES[place](secret)

    shown = redacted(f"failed: {text}" if place != "yaml" else text)

    assert MARK not in shown
    assert _base64(secret) not in shown


@pytest.mark.parametrize("secret", ["hunter2", "correct horse", 'quo"te', "it's", "back\\slash", "a@b", "ab"])
@pytest.mark.parametrize("place", ["json", "json in json", "dict", "object"])
def test_quotes_and_spaces_do_not_end_a_secret(place: str, secret: str) -> None:
    shown = redacted(PLACES[place](f"{secret}-the-rest"))

    assert "the-rest" not in shown


def test_what_stands_around_a_secret_stays() -> None:
    text = 'GET https://u:p@r.test/v2/ {"auth": "c2Vj", "a": "b"} (token=abc, size=3)'

    assert redacted(text) == 'GET https://***@r.test/v2/ {"auth": "***", "a": "b"} (token=***, size=3)'


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text",
    [
        "authorization ",
        "authorization: basic ",
        "password='",
        "password='\\",
        '"token": "\\',
        '\\"token\\":\\"\\\\',
        "token: ",
        "- ",
        "a.",
        "'auth': b\"",
        "://@",
        "secret=",
        "\n token",
    ],
)
def test_hostile_texts_are_redacted_in_no_time(text: str) -> None:
    hostile = text * (200_000 // len(text))

    assert redacted(hostile)


@given(st.text() | st.sampled_from(sorted(PLACES)).flatmap(lambda place: SECRETS.map(PLACES[place])))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "passwd",
        "registryPassword",
        "pass",
        "secret",
        "client_secret",
        "token",
        "identitytoken",
        "auth",
        "x-registry-auth",
        "Authorization",
        "Proxy-Authorization",
        "Set-Cookie",
        "docker_config",
        ".dockerconfigjson",
        ".dockercfg",
        "api-key",
        "private_key",
        "X-Amz-Signature",
        "credentials",
    ],
)
def test_names_of_credentials_are_known(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["image", "author", "path", "compass_heading", "key", "signal", "reason", "node"]
)
def test_other_names_are_not_taken_for_credentials(name: str) -> None:
    assert not is_secret(name)
