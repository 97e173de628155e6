"""Docker configurations: what is read from them, which images it fits, and that nothing of it shows."""

import base64
import json
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.nodeimages.credentials import (
    Credential,
    CredentialError,
    DockerConfig,
    Keyring,
    config_of_secret,
    decode_config,
    pattern_of,
)
from daemon.objects.images import Secret
from daemon.objects.meta import ObjectMeta
from daemon.objects.references import ImageReference, parse

SECRET = "hunter2-s3cr3t"  # Appears in no text of ours.


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def config_for(*keys: str) -> DockerConfig:
    """A configuration in which the user name tells the key."""
    auths = {key: {"username": key, "password": SECRET} for key in keys}
    return decode_config(json.dumps({"auths": auths}), "file")


def users(image: str, *configs: DockerConfig) -> list[str]:
    return [found.username for found in Keyring(configs).lookup(parse(image))]


def only(config: DockerConfig) -> Credential:
    [(_, credential)] = config.entries
    return credential


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"username": "u", "password": "p"}, ("u", "p", "", "")),
        ({"username": "u", "password": "p", "email": "u@example.com"}, ("u", "p", "", "")),
        ({"auth": b64("u:p")}, ("u", "p", "", "")),
        ({"auth": b64("u:p:with:colons")}, ("u", "p:with:colons", "", "")),
        ({"auth": b64("ü:pä")}, ("ü", "pä", "", "")),
        ({"auth": b64("user:pw").rstrip("=")}, ("user", "pw", "", "")),
        (
            {"auth": b64("user:" + "p" * 90)[:76] + "\n" + b64("user:" + "p" * 90)[76:]},
            ("user", "p" * 90, "", ""),
        ),
        ({"username": "x", "password": "y", "auth": b64("u:p")}, ("u", "p", "", "")),
        ({"Username": "u", "Password": "p"}, ("u", "p", "", "")),
        ({"identitytoken": "t"}, ("", "", "t", "")),
        ({"auth": b64("00000000-0000:"), "identitytoken": "t"}, ("", "", "t", "")),
        ({"username": "u", "password": "p", "identitytoken": "t"}, ("u", "p", "t", "")),
        ({"registrytoken": "r"}, ("", "", "", "r")),
        ({"username": "u", "password": None}, ("u", "", "", "")),
    ],
)
def test_every_form_of_an_entry_is_read(entry: dict[str, Any], expected: tuple[str, ...]) -> None:
    modern = only(decode_config(json.dumps({"auths": {"r.io": entry}}), "file"))
    legacy = only(decode_config(json.dumps({"r.io": entry}), "file"))

    assert modern.secrets == expected
    assert legacy == modern


@pytest.mark.parametrize(
    "text", ["{}", '{"auths": {}}', '{"auths": null}', '{"auths": {"r.io": {}, "s.io": null}}']
)
def test_an_empty_configuration_has_no_credentials(text: str) -> None:
    assert decode_config(text, "file") == DockerConfig()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", ""),
        ("{", ""),
        ("[]", ""),
        ('"text"', ""),
        ("[" * 100_000, ""),
        ('{"auths": []}', "auths"),
        ('{"auths": {"r.io": "' + SECRET + '"}}', "auths['r.io']"),
        ('{"auths": {"https://r.io/v1/": {"auth": 1}}}', "auths['r.io'].auth"),
        ('{"auths": {"r.io": {"password": ["' + SECRET + '"]}}}', "auths['r.io'].password"),
        ('{"auths": {"r.io": {"auth": "!' + SECRET + '"}}}', "auths['r.io'].auth"),
        ('{"auths": {"r.io": {"auth": "' + b64(SECRET) + '"}}}', "auths['r.io'].auth"),
        ('{"auths": {"r.io": {"auth": "//46//4="}}}', "auths['r.io'].auth"),
        ('{"r.io": {"identitytoken": {}}}', "['r.io'].identitytoken"),
    ],
)
def test_an_error_names_source_and_field_but_no_value(text: str, field: str) -> None:
    with pytest.raises(CredentialError) as caught:
        decode_config(text, "secret a/b")

    assert (caught.value.source, caught.value.field) == ("secret a/b", field)
    shown = "".join(traceback.format_exception(caught.value))
    assert str(caught.value).startswith("secret a/b")
    assert SECRET not in shown
    assert b64(SECRET) not in shown


@pytest.mark.parametrize("name", ["credsStore", "credHelpers"])
def test_credential_helpers_are_not_run_and_that_is_said(name: str) -> None:
    value: object = "desktop" if name == "credsStore" else {"r.io": "ecr-login"}

    config = decode_config(json.dumps({name: value, "auths": {"s.io": {"auth": b64("u:p")}}}), "file")

    assert len(config.entries) == 1
    assert [name in warning and "not used" in warning for warning in config.warnings] == [True]


def test_a_malformed_key_is_left_out_without_being_shown() -> None:
    config = config_for(f"https://user:{SECRET}@r.io", "good.io")

    assert [pattern.key for pattern, _ in config.entries] == ["good.io"]
    assert len(config.warnings) == 1
    assert SECRET not in config.warnings[0]


@pytest.mark.parametrize(
    ("key", "image", "fits"),
    [
        ("r.io", "r.io/a", True),
        ("https://r.io", "r.io/a", True),
        ("http://r.io/", "r.io/a", True),
        ("https://r.io/v1/", "r.io/a", True),
        ("https://r.io/v2/", "r.io/a/b", True),
        ("https://r.io/v2/a", "r.io/a/b", True),
        ("https://r.io/v2/b", "r.io/a/b", False),
        ("r.io/a", "r.io/a/b", True),
        ("r.io/a", "r.io/ab", True),
        ("r.io/a/", "r.io/ab", False),
        ("r.io/a/b", "r.io/a", False),
        ("r.io", "r.io:5000/a", False),
        ("r.io:5000", "r.io:5000/a", True),
        ("r.io:5000", "r.io:5001/a", False),
        ("r.io:5000", "r.io/a", False),
        ("*.r.io", "x.r.io/a", True),
        ("*.r.io", "r.io/a", False),
        ("*.r.io", "x.y.r.io/a", False),
        ("*.*.r.io", "x.y.r.io/a", True),
        ("app*.r.io", "app-1.r.io/a", True),
        ("app*.r.io", "web.r.io/a", False),
        ("a*c.r.io", "a.r.io/a", False),
        ("r.*", "r.io/a", True),
        ("*.r.io:5000/team", "x.r.io:5000/team/a", True),
        ("xr.io", "r.io/a", False),
        ("r-io", "r.io/a", False),
        ("[::1]:5000", "[::1]:5000/a", True),
        ("[::1]", "[::1]:5000/a", False),
        ("localhost:5000", "localhost:5000/a", True),
        ("docker.io", "nginx", True),
        ("index.docker.io", "nginx", True),
        ("https://index.docker.io/v1/", "nginx", True),
        ("https://index.docker.io/v1/", "docker.io/org/app", True),
        ("registry-1.docker.io", "org/app", True),
        ("https://index.docker.io/v1/", "quay.io/org/app", False),
        ("docker.io/org", "org/app", True),
        ("docker.io/org", "nginx", False),
        ("*", "r.io/a", False),
    ],
)
def test_keys_match_as_in_the_kubelet(key: str, image: str, fits: bool) -> None:
    assert users(image, config_for(key)) == ([key] if fits else [])


def test_the_longest_match_comes_first_and_wildcards_after_names() -> None:
    config = config_for("*.r.io", "x.r.io", "x.r.io/a", "x.r.io/a/b", "x.r.io/c", "r.io")

    assert users("x.r.io/a/b", config) == ["x.r.io/a/b", "x.r.io/a", "x.r.io", "*.r.io"]


def test_of_equal_keys_the_earlier_source_comes_first() -> None:
    first = decode_config(json.dumps({"auths": {"r.io": {"auth": b64("first:p")}}}), "one")
    second = decode_config(json.dumps({"auths": {"https://r.io": {"auth": b64("second:p")}}}), "two")

    assert users("r.io/a", first, second) == ["first", "second"]


def test_the_same_credential_is_found_once() -> None:
    entry = {"auth": b64(f"u:{SECRET}")}
    config = decode_config(json.dumps({"auths": {"r.io": entry, "r.io/a": entry}}), "file")

    found = Keyring([config, config]).lookup(parse("r.io/a"))

    assert [(one.server_address, one.source) for one in found] == [("r.io/a", "file")]


def secret_of(
    type_: str, *, data: dict[str, str] | None = None, plain: dict[str, str] | None = None
) -> Secret:
    meta = ObjectMeta(name="pull", namespace="shop")
    return Secret(metadata=meta, type=type_, data=data or {}, string_data=plain or {})


def test_both_types_of_secret_are_read_from_data_and_plain_text() -> None:
    modern = json.dumps({"auths": {"r.io": {"auth": b64("u:p")}}})
    legacy = json.dumps({"r.io": {"auth": b64("u:p")}})

    configs = [
        config_of_secret(
            secret_of("kubernetes.io/dockerconfigjson", data={".dockerconfigjson": b64(modern)})
        ),
        config_of_secret(secret_of("kubernetes.io/dockerconfigjson", plain={".dockerconfigjson": modern})),
        config_of_secret(secret_of("kubernetes.io/dockercfg", data={".dockercfg": b64(legacy)})),
    ]

    assert [only(config).secrets for config in configs] == [("u", "p", "", "")] * 3
    assert {only(config).source for config in configs} == {"secret shop/pull"}


@pytest.mark.parametrize(
    ("secret", "field"),
    [
        (secret_of("Opaque", data={".dockerconfigjson": b64(SECRET)}), "type"),
        (
            secret_of("kubernetes.io/dockerconfigjson", data={"config.json": b64(SECRET)}),
            "data['.dockerconfigjson']",
        ),
        (secret_of("kubernetes.io/dockercfg", data={".dockercfg": f"{SECRET}!"}), "data['.dockercfg']"),
        (secret_of("kubernetes.io/dockercfg", data={".dockercfg": b64(SECRET)}), ""),
    ],
)
def test_a_wrong_secret_is_named_with_its_field(secret: Secret, field: str) -> None:
    with pytest.raises(CredentialError) as caught:
        config_of_secret(secret)

    assert (caught.value.source, caught.value.field) == ("secret shop/pull", field)
    assert SECRET not in str(caught.value)


labels = st.sampled_from(["a", "b", "ab", "x-y", "io", "com"])
names = st.lists(labels, min_size=2, max_size=4).map(".".join)
hosts = st.builds("{}{}".format, names, st.sampled_from(["", ":5000", ":443"]))
paths = st.lists(labels, max_size=3).map("/".join)
schemes = st.sampled_from(["", "https://", "http://"])


@given(schemes, hosts, paths, hosts, paths.filter(bool))
def test_a_credential_never_matches_another_host(
    scheme: str, host: str, path: str, registry: str, repository: str
) -> None:
    pattern = pattern_of(f"{scheme}{host}/{path}")

    assert pattern is not None
    fits = pattern.matches(ImageReference(registry, repository))
    assert fits == (host == registry and repository.startswith(path))


@given(st.lists(st.sampled_from(["*", "a*", "*b", "a", "io"]), min_size=1, max_size=4), hosts)
def test_a_wildcard_never_spans_parts_of_a_host(parts: list[str], registry: str) -> None:
    pattern = pattern_of(".".join(parts))

    assert pattern is not None
    if pattern.matches(ImageReference(registry, "app")):
        assert registry.count(".") == len(parts) - 1
        assert ":" not in registry


@given(st.lists(st.tuples(hosts, paths), max_size=5), hosts, paths.filter(bool))
def test_lookups_are_unique_and_ordered_from_specific_to_general(
    keys: list[tuple[str, str]], registry: str, repository: str
) -> None:
    config = config_for(*(f"{host}/{path}" for host, path in keys))

    found = Keyring([config, config]).lookup(ImageReference(registry, repository))

    lengths = [len(one.server_address) for one in found]
    assert lengths == sorted(lengths, reverse=True)
    assert len({one.secrets for one in found}) == len(found)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.just(SECRET),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["auths", "r.io", "auth", "username", "password", "credsStore", "identitytoken"])
            | st.text(max_size=6),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_decodes_or_raises_the_one_error_and_shows_no_value(value: object) -> None:
    try:
        shown = repr(decode_config(json.dumps(value), "file"))
    except CredentialError as error:
        shown = f"{error}{error!r}{error.__cause__!r}{error.__context__!r}"

    assert SECRET not in shown


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_bytes_decode_or_raise_the_one_error(text: str | bytes) -> None:
    try:
        config = decode_config(text, "file")
    except CredentialError:
        return

    assert all(isinstance(one, Credential) for _, one in config.entries)


@given(st.text(min_size=3, max_size=20).map(lambda text: f"§{text}§"))
def test_no_text_of_a_credential_shows_it(hidden: str) -> None:
    credential = Credential(hidden, hidden, hidden, hidden, "r.io", "file")

    assert hidden not in f"{credential} {credential!r} {[credential]}"
