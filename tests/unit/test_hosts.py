"""containerd's certs.d: where a registry is reached from this node."""

import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.nodeimages.hosts import Endpoint, HostsConfig, HostsError, Tls, default_endpoints, parse_hosts

PATH = Path("/etc/containerd/certs.d/r.io/hosts.toml")
ALL = frozenset({"pull", "resolve", "push"})


def urls(endpoints: tuple[Endpoint, ...]) -> list[str]:
    return [endpoint.url for endpoint in endpoints]


def parsed(text: str, registry: str = "r.io") -> tuple[Endpoint, ...]:
    return parse_hosts(text.encode(), registry, PATH)


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("r.io", ["https://r.io/v2"]),
        ("r.io:5000", ["https://r.io:5000/v2"]),
        ("docker.io", ["https://registry-1.docker.io/v2"]),
        ("localhost:5000", ["http://localhost:5000/v2", "https://localhost:5000/v2"]),
        ("127.0.0.1:5000", ["http://127.0.0.1:5000/v2", "https://127.0.0.1:5000/v2"]),
        ("127.8.9.1", ["http://127.8.9.1/v2", "https://127.8.9.1/v2"]),
        ("[::1]:5000", ["http://[::1]:5000/v2", "https://[::1]:5000/v2"]),
        ("localhost:80", ["http://localhost:80/v2"]),
        ("localhost:443", ["https://localhost:443/v2"]),
        ("10.0.0.1:5000", ["https://10.0.0.1:5000/v2"]),
        ("localhost.example.com:5000", ["https://localhost.example.com:5000/v2"]),
    ],
)
def test_only_this_machine_is_reached_over_plain_http_by_default(registry: str, expected: list[str]) -> None:
    assert urls(default_endpoints(registry)) == expected


def test_certificates_are_not_verified_on_this_machine_alone() -> None:
    assert [endpoint.tls.skip_verify for endpoint in default_endpoints("localhost:443")] == [True]
    assert [endpoint.tls.skip_verify for endpoint in default_endpoints("r.io")] == [None]


def test_hosts_come_in_the_order_of_the_file_and_the_server_last() -> None:
    text = """
        server = "https://upstream.r.io"
        [host."https://z.mirror"]
        [host."http://a.mirror:8080"]
        [host."m.mirror"]
    """

    assert urls(parsed(text)) == [
        "https://z.mirror/v2",
        "http://a.mirror:8080/v2",
        "https://m.mirror/v2",
        "https://upstream.r.io/v2",
    ]


def test_without_a_server_the_registry_itself_comes_last() -> None:
    assert urls(parsed('[host."https://mirror"]')) == ["https://mirror/v2", "https://r.io/v2"]
    assert urls(parsed('[host."https://mirror"]', "docker.io"))[-1] == "https://registry-1.docker.io/v2"


def test_a_mirror_is_told_whom_it_mirrors_and_the_registry_is_not() -> None:
    found = parsed('server = "http://r.io"\n[host."https://mirror"]')

    assert [endpoint.mirrored for endpoint in found] == ["r.io", ""]


@pytest.mark.parametrize(
    ("url", "override", "expected"),
    [
        ("https://h", False, "https://h/v2"),
        ("https://h/", False, "https://h/v2"),
        ("https://h/v2", False, "https://h/v2"),
        ("https://h/v2/", False, "https://h/v2"),
        ("https://h/a/b", False, "https://h/a/b/v2"),
        ("https://h/a/../b//c", False, "https://h/b/c/v2"),
        ("https://h/a", True, "https://h/a"),
        ("https://h", True, "https://h"),
        ("https://user:pass@h:1", False, "https://h:1/v2"),
        ("[::1]:5000", False, "https://[::1]:5000/v2"),
    ],
)
def test_the_api_is_under_v2_unless_overridden(url: str, override: bool, expected: str) -> None:
    text = f'[host."{url}"]\noverride_path = {str(override).lower()}'

    assert urls(parsed(text))[0] == expected


def test_all_settings_of_a_host_are_read() -> None:
    text = """
        [host."https://mirror"]
        capabilities = ["pull", "Resolve"]
        ca = ["ca.pem", "/etc/ssl/other.pem"]
        client = [["client.cert", "client.key"], "both.pem"]
        skip_verify = false
        dial_timeout = "1s"
        [host."https://mirror".header]
        X-One = "1"
        X-Two = ["2", "3"]
    """

    [mirror, registry] = parsed(text)

    folder = PATH.parent
    assert mirror.capabilities == {"pull", "resolve"}
    assert mirror.tls == Tls(
        (folder / "ca.pem", Path("/etc/ssl/other.pem")),
        ((folder / "client.cert", folder / "client.key"), (folder / "both.pem", None)),
        skip_verify=False,
    )
    assert mirror.headers == (("X-One", "1"), ("X-Two", "2"), ("X-Two", "3"))
    assert (registry.capabilities, registry.tls, registry.headers) == (ALL, Tls(), ())


def test_the_top_level_is_for_the_server() -> None:
    [server] = parsed('server = "https://s"\ncapabilities = ["pull"]\nca = "ca.pem"\nclient = "both.pem"')

    assert server.capabilities == {"pull"}
    assert server.tls == Tls((PATH.parent / "ca.pem",), ((PATH.parent / "both.pem", None),))


def test_absolute_paths_are_seen_from_the_root_of_the_host() -> None:
    [server] = parse_hosts(b'server = "https://s"\nca = ["/a.pem", "b.pem"]', "r.io", PATH, Path("/host"))

    assert server.tls.authorities == (Path("/host/a.pem"), PATH.parent / "b.pem")


def test_tls_settings_on_plain_http_try_https_first_as_containerd_does() -> None:
    assert urls(parsed('server = "http://s:5000"\nskip_verify = true')) == [
        "https://s:5000/v2",
        "http://s:5000/v2",
    ]
    assert urls(parsed('server = "http://s:80"\nskip_verify = true')) == ["http://s:80/v2"]


def test_headers_do_not_show() -> None:
    found = parsed('[host."https://m".header]\nAuthorization = "Bearer hunter2"')

    assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "server",
        "server = 1",
        'server = "https://"',
        'server = "httpx://h"',
        'server = "https://h:99999"',
        'server = "https://[::1"',
        'server = "https://h"\ncapabilities = ["fly"]',
        'server = "https://h"\nskip_verify = "yes"',
        'server = "https://h"\nca = 5',
        'server = "https://h"\nclient = [["a", "b", "c"]]',
        '[host."https://h"]\nheader = 3',
        "a = " + "[" * 5000,
    ],
)
def test_a_malformed_file_is_named(text: str) -> None:
    with pytest.raises(HostsError, match=str(PATH)):
        parsed(text)


def put(root: Path, name: str, text: str) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "hosts.toml").write_text(text)


@pytest.mark.parametrize(
    ("registry", "expected"),
    [
        ("r.io:5000", "https://with-port/v2"),
        ("r.io", "https://by-name/v2"),
        ("s.io:5000", "https://by-name-and-port/v2"),
        ("other.io", "https://default/v2"),
        ("docker.io", "https://default/v2"),
    ],
)
def test_directories_are_found_as_containerd_finds_them(tmp_path: Path, registry: str, expected: str) -> None:
    put(tmp_path, "r.io_5000_", 'server = "https://with-port"')
    put(tmp_path, "r.io:5000", 'server = "https://never"')
    put(tmp_path, "r.io", 'server = "https://by-name"')
    put(tmp_path, "s.io:5000", 'server = "https://by-name-and-port"')
    put(tmp_path, "_default", 'server = "https://default"')

    assert urls(HostsConfig([tmp_path]).endpoints(registry)) == [expected]


def test_the_first_root_that_knows_the_registry_counts(tmp_path: Path) -> None:
    put(tmp_path / "one", "s.io", 'server = "https://one"')
    put(tmp_path / "two", "r.io", 'server = "https://two"')
    put(tmp_path / "three", "r.io", 'server = "https://three"')
    config = HostsConfig([tmp_path / "gone", tmp_path / "one", tmp_path / "two", tmp_path / "three"])

    assert urls(config.endpoints("r.io")) == ["https://two/v2"]


def test_a_malformed_file_counts_as_absent_as_in_containerd(tmp_path: Path) -> None:
    put(tmp_path, "r.io", "server = ")

    assert HostsConfig([tmp_path]).endpoints("r.io") == default_endpoints("r.io")


def test_docker_certificates_are_used_where_there_is_no_file(tmp_path: Path) -> None:
    folder = tmp_path / "r.io"
    folder.mkdir()
    for name in ("ca.crt", "client.cert", "client.key"):
        (folder / name).touch()

    [endpoint] = HostsConfig([tmp_path]).endpoints("r.io")

    assert endpoint.tls == Tls((folder / "ca.crt",), ((folder / "client.cert", folder / "client.key"),))


def test_an_unreadable_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "r.io" / "hosts.toml").mkdir(parents=True)

    with pytest.raises(HostsError, match=r"r\.io"):
        HostsConfig([tmp_path]).endpoints("r.io")


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "ca.pem"
    wrong.write_text("no certificate")

    with pytest.raises(HostsError, match=str(wrong)):
        Tls((wrong,)).context()
    with pytest.raises(HostsError, match=str(tmp_path / "gone")):
        Tls((), ((tmp_path / "gone", None),)).context()


def test_tls_is_verified_unless_said_otherwise() -> None:
    strict, lax = Tls(skip_verify=False).context(), Tls(skip_verify=True).context()

    assert Tls().context() is None
    assert strict is not None
    assert strict.verify_mode == ssl.CERT_REQUIRED
    assert lax is not None
    assert lax.verify_mode == ssl.CERT_NONE


toml_values = st.one_of(
    st.sampled_from(
        ['"https://h"', "true", "1", "[]", '["pull"]', '"ca.pem"', '[["a", "b"]]', "{}", '{ a = "b" }']
    ),
    st.text(max_size=8),
)
settings = st.dictionaries(
    st.sampled_from(
        ["server", "capabilities", "ca", "client", "skip_verify", "header", "override_path", "host"]
    ),
    toml_values,
    max_size=4,
)


@given(settings, st.text(max_size=12))
def test_any_file_is_read_or_raises_the_one_error(fields: dict[str, str], host: str) -> None:
    lines = [f"{name} = {value}" for name, value in fields.items()]
    quoted = host.replace("\\", "").replace('"', "")

    for text in ("\n".join(lines), "\n".join([f'[host."{quoted}"]', *lines])):
        try:
            found = parsed(text)
        except HostsError:
            continue
        assert all(endpoint.scheme in {"http", "https"} and endpoint.host for endpoint in found)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_raise_the_one_error(text: bytes) -> None:
    try:
        found = parse_hosts(text, "r.io", PATH)
    except HostsError:
        return

    assert found
