"""Errors of runtimes: their words, and what must not be in them."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.cri import errors
from daemon.cri.errors import CriError, PullFailedError, RateLimitedError
from daemon.redaction import redacted


def _kinds(kind: type[CriError]) -> Iterator[type[CriError]]:
    for each in kind.__subclasses__():
        yield each
        yield from _kinds(each)


KINDS = sorted(_kinds(CriError), key=lambda kind: kind.__name__)


def test_an_error_shows_method_code_and_text() -> None:
    error = RateLimitedError("PullImage", "UNKNOWN", "429 Too Many Requests")

    assert str(error) == "PullImage: UNKNOWN: 429 Too Many Requests"


def test_an_error_without_text_shows_no_empty_part() -> None:
    assert str(PullFailedError("PullImage", "UNKNOWN", "")) == "PullImage: UNKNOWN"


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_camel_case_reason_and_a_remedy(kind: type[CriError]) -> None:
    assert kind.reason.isalnum()
    assert kind.reason[0].isupper()
    assert kind.remedy.endswith(".")


def test_reasons_are_unique() -> None:
    reasons = [kind.reason for kind in KINDS]

    assert len(set(reasons)) == len(reasons)


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_in_the_docstring_is_whole(kind: type[CriError]) -> None:
    assert errors.__doc__
    assert f"─ {kind.__name__} " in errors.__doc__


@pytest.mark.timeout(5)
@pytest.mark.parametrize("text", ["x", "a://", "bearer ", "token", 'auth"', "a-", "sig=", "basic x"])
def test_hostile_texts_are_redacted_in_no_time(text: str) -> None:
    hostile = text * (200_000 // len(text))

    assert redacted(hostile)


def test_a_long_text_keeps_its_beginning_and_its_end() -> None:
    error = PullFailedError("PullImage", "UNKNOWN", f"failed to pull: {'x' * 50_000}: the cause")

    assert error.text.startswith("failed to pull: ")
    assert error.text.endswith(": the cause")
    assert len(error.text) < 2_100


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Get https://tester:s3cret@registry.test/v2/: EOF", "Get https://***@registry.test/v2/: EOF"),
        ("Get https://ghp_s3cret@ghcr.io/v2/: EOF", "Get https://***@ghcr.io/v2/: EOF"),
        ("map[Authorization:[Basic dGVzdGVyOnMzY3JldA==]]", "map[Authorization:[Basic ***]]"),
        ("Authorization: Bearer eyJhbGciOi.s3cret.x_y-z", "Authorization: Bearer ***"),
        (
            "GET http://r.test/token?scope=repository%3Aapp%3Apull&token=s3cret&service=x",
            "GET http://r.test/token?scope=repository%3Aapp%3Apull&token=***&service=x",
        ),
        ("grant_type=password&username=u&password=s3cret", "grant_type=password&username=u&password=***"),
        ("refresh_token=s3cret: 401", "refresh_token=*** 401"),
        (
            "https://b.s3.test/blob?X-Amz-Credential=AKIA&X-Amz-Signature=s3cret&X-Amz-Date=1: 403 Forbidden",
            "https://b.s3.test/blob?X-Amz-Credential=***&X-Amz-Signature=***&X-Amz-Date=1: 403 Forbidden",
        ),
        ("https://a.blob.test/x?sv=2021&sig=s3cret%3D&se=1", "https://a.blob.test/x?sv=2021&sig=***&se=1"),
        (
            'body: {"access_token": "s3cret", "expires_in": 3}',
            'body: {"access_token": "***", "expires_in": 3}',
        ),
        (r'body: "{\"token\":\"s3cret\"}"', r'body: "{\"token\":\"***\"}"'),
    ],
)
def test_credentials_are_taken_out_and_nothing_else(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert "s3cret" not in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "failed to fetch anonymous token: unexpected status: 401 Unauthorized",
        "may require authorization: authorization failed: no basic auth credentials",
        "Requesting bearer token: invalid status code from registry 403 (Forbidden)",
        'Www-Authenticate:[Bearer realm="https://auth.docker.io/token",service="registry.docker.io"]',
        "unable to retrieve auth token: invalid username/password: unauthorized: authentication required",
        'failed to resolve reference "registry.test/team/secret-app:v1": not found',
        "unexpected commit digest sha256:a46f9c5c72, expected sha256:d262490621: failed precondition",
    ],
)
def test_prose_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


SECRETS = st.text(alphabet="abcdefXYZ0123456789", min_size=8, max_size=40).filter(
    lambda text: not text.islower()
)


@given(
    secret=SECRETS,
    template=st.sampled_from(
        [
            "Get https://user:{}@host/v2/: EOF",
            "Authorization: Basic {}",
            "Authorization: Bearer {}",
            "?token={}&a=b",
            "&client_secret={}",
            '{{"password":"{}"}}',
            '{{"identity_token": "{}"}}',
        ]
    ),
    around=st.text(max_size=20),
)
def test_no_secret_survives_in_any_of_these_places(secret: str, template: str, around: str) -> None:
    text = f"{around} {template.format(secret)} {around}"

    assert secret not in redacted(text).replace(around, "")


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)
