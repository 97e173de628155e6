"""Image references: what is accepted, what it defaults to, and what is refused with which part named."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.objects.references import ImageReference, InvalidReferenceError, join, parse

SHA256 = "sha256:" + "a1" * 32
SHA512 = "sha512:" + "0f" * 64

hosts = st.sampled_from(
    [
        "docker.io",
        "localhost",
        "registry.example.com",
        "Registry.Example.com",
        "10.0.0.1",
        "[2001:db8::1]",
        "a.b",
    ]
)
ports = st.one_of(st.just(""), st.integers(1, 65535).map(":{}".format))
parts = st.builds(
    str.__add__, st.text("az09", min_size=1, max_size=6), st.sampled_from(["", ".0", "_a", "__b", "---c"])
)
plain = st.text("abc019", min_size=1, max_size=8)
repositories = st.lists(parts, min_size=1, max_size=4).map("/".join)
tags = st.builds(str.__add__, st.sampled_from("aZ9_"), st.text("aZ9_.-", max_size=127))
digests = st.one_of(
    st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format),
    st.text("0123456789abcdef", min_size=128, max_size=128).map("sha512:{}".format),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    registry = draw(hosts) + draw(ports)
    # Only a first part without a dot is no registry.
    start = draw(st.sampled_from([f"{registry}/", "", "library/", "org_1/"]))
    tag = draw(st.one_of(st.just(""), tags.map(":{}".format)))
    digest = draw(st.one_of(st.just(""), digests.map("@{}".format)))
    repository = draw(repositories if start else plain)
    return start + repository + tag + digest


@pytest.mark.parametrize(
    ("text", "canonical", "familiar", "version"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx", "latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx", "1.27"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx", "latest"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx", "latest"),
        ("index.docker.io/nginx", "docker.io/library/nginx:latest", "nginx", "latest"),
        ("org/app:v1", "docker.io/org/app:v1", "org/app", "v1"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b", "latest"),
        ("docker.io/my.org/app", "docker.io/my.org/app:latest", "docker.io/my.org/app", "latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app", "latest"),
        ("localhost:5000/app:v2", "localhost:5000/app:v2", "localhost:5000/app", "v2"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app", "latest"),
        ("[2001:db8::1]/app", "[2001:db8::1]/app:latest", "[2001:db8::1]/app", "latest"),
        (f"nginx@{SHA256}", f"docker.io/library/nginx@{SHA256}", "nginx", SHA256),
        (f"ghcr.io/o/a:v1@{SHA512}", f"ghcr.io/o/a@{SHA512}", "ghcr.io/o/a", SHA512),
        (
            "registry.k8s.io/a__b/c--d.e_f",
            "registry.k8s.io/a__b/c--d.e_f:latest",
            "registry.k8s.io/a__b/c--d.e_f",
            "latest",
        ),
    ],
)
def test_references_default_as_in_the_runtime(text: str, canonical: str, familiar: str, version: str) -> None:
    ref = parse(text)

    assert (ref.canonical, ref.familiar_name, ref.version) == (canonical, familiar, version)


def test_both_tag_and_digest_are_kept_in_the_text_of_a_reference() -> None:
    ref = parse(f"nginx:1.27@{SHA256}")

    assert ref == ImageReference("docker.io", "library/nginx", "1.27", SHA256)
    assert str(ref) == f"docker.io/library/nginx:1.27@{SHA256}"


@pytest.mark.parametrize(
    ("text", "part", "value"),
    [
        ("", "repository", ""),
        ("registry.example.com/", "repository", ""),
        ("Nginx", "repository", "Nginx"),
        ("registry.example.com/Org/app", "repository", "Org/app"),
        ("a//b", "repository", "a//b"),
        ("a___b", "repository", "a___b"),
        ("-a", "repository", "-a"),
        ("a b", "repository", "a b"),
        ("a1" * 32, "repository", "a1" * 32),
        ("https://registry.example.com/a", "registry", "https://"),
        ("https://user:hunter2@registry.example.com/a", "registry", "https://"),
        ("registry:port/a", "registry", "registry:port"),
        ("registry:0/a", "registry", "registry:0"),
        ("registry:65536/a", "registry", "registry:65536"),
        ("registry:/a", "registry", "registry:"),
        ("-registry.example.com/a", "registry", "-registry.example.com"),
        ("registry..com/a", "registry", "registry..com"),
        ("::1/a", "registry", "::1"),
        ("[::1/a", "registry", "[::1"),
        ("[fe80::1%eth0]:5000/a", "registry", "[fe80::1%eth0]:5000"),
        ("[10.0.0.1]/a", "registry", "[10.0.0.1]"),
        ("a:", "tag", ""),
        ("a:.v1", "tag", ".v1"),
        ("a:v 1", "tag", "v 1"),
        ("a:v1\n", "tag", "v1\n"),
        ("a:ä", "tag", "ä"),
        ("a:" + "v" * 129, "tag", "v" * 129),
        (f"a:{SHA256}", "tag", SHA256),
        ("a@", "digest", ""),
        ("a@sha256:abc", "digest", "sha256:abc"),
        ("a@md5:" + "a" * 32, "digest", "md5:" + "a" * 32),
        ("a@" + SHA256.upper(), "digest", SHA256.upper()),
        (f"a@{SHA256}@{SHA256}", "digest", f"{SHA256}@{SHA256}"),
    ],
)
def test_a_wrong_part_is_named_with_its_value_and_what_is_allowed(text: str, part: str, value: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse(text)

    assert (caught.value.part, caught.value.value) == (part, value)
    assert str(caught.value).startswith(f"invalid {part} ")
    assert caught.value.allowed in str(caught.value)


def test_a_repository_may_have_255_characters_and_no_more() -> None:
    longest = "a" * 251 + "/app"

    assert parse(f"r.io/{longest}").repository == longest
    with pytest.raises(InvalidReferenceError, match="255"):
        parse(f"r.io/a{longest}")


def test_the_part_that_defaults_add_counts_towards_the_limit() -> None:
    with pytest.raises(InvalidReferenceError, match="invalid repository"):
        parse("a" * 248)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        parse("A" * 10_000)

    assert len(str(caught.value)) < 400


def test_a_digest_is_joined_with_an_at_sign_and_a_tag_with_a_colon() -> None:
    assert join("nginx", SHA256) == f"nginx@{SHA256}"
    assert join("localhost:5000/app", "v1") == "localhost:5000/app:v1"


def test_the_api_of_docker_hub_answers_at_a_host_of_its_own() -> None:
    assert parse("nginx").repository_url_host == "registry-1.docker.io"
    assert parse("ghcr.io/o/a").repository_url_host == "ghcr.io"


@given(texts())
def test_parsing_the_text_of_a_reference_gives_the_same_reference(text: str) -> None:
    ref = parse(text)

    assert parse(str(ref)) == ref


@given(texts())
def test_the_entry_of_a_node_image_joins_back_to_the_same_image(text: str) -> None:
    ref = parse(text)

    assert parse(join(ref.familiar_name, ref.version)).canonical == ref.canonical


@given(st.one_of(st.text(), st.text(string.ascii_letters + string.digits + "./:@[]-_ ", max_size=40)))
def test_any_text_parses_or_raises_the_one_error(text: str) -> None:
    try:
        ref = parse(text)
    except InvalidReferenceError:
        return

    assert parse(ref.canonical).canonical == ref.canonical
