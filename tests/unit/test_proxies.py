"""Through which proxy a registry is reached: as containerd has it."""

import pytest
from yarl import URL

from daemon.nodeimages.proxies import ProxyError, proxy_for

PROXY = "http://proxy.test:3128"
BOTH = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://r.test/v2/", {}, None),
        ("https://r.test/v2/", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://r.test/v2/", {"https_proxy": PROXY}, PROXY),
        ("https://r.test/v2/", {"https_proxy": "http://other.test", "HTTPS_PROXY": PROXY}, PROXY),
        ("https://r.test/v2/", {"HTTP_PROXY": PROXY}, None),
        ("http://r.test/v2/", {"HTTP_PROXY": PROXY}, PROXY),
        ("http://r.test/v2/", {"HTTP_PROXY": "proxy.test:3128"}, PROXY),
        ("http://r.test/v2/", {"ALL_PROXY": PROXY}, None),
        ("http://localhost:5000/v2/", BOTH, None),
        ("http://127.0.0.7:5000/v2/", BOTH, None),
        ("http://[::1]:5000/v2/", BOTH, None),
    ],
)
def test_the_environment_names_the_proxy(url: str, environ: dict[str, str], proxy: str | None) -> None:
    found = proxy_for(URL(url), environ)

    assert (found and str(found).removesuffix("/")) == proxy


@pytest.mark.parametrize(
    ("spared", "host", "is_spared"),
    [
        ("r.test", "r.test", True),
        ("r.test", "eu.r.test", True),
        ("r.test", "other-r.test", False),
        (".r.test", "eu.r.test", True),
        (".r.test", "r.test", False),
        ("*.r.test", "eu.r.test", True),
        ("R.Test", "r.test", True),
        ("a.test, r.test", "r.test", True),
        ("*", "r.test", True),
        ("r.test:5000", "r.test:5000", True),
        ("r.test:5000", "r.test", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.0/8", "r.test", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:443", "10.1.2.3", True),
        ("fd00::1", "[fd00::1]", True),
        ("[fd00::1]:443", "[fd00::1]", True),
        ("fd00::/8", "[fd00::1]", True),
        ("nonsense/x,,", "r.test", False),
    ],
)
def test_some_hosts_are_spared(spared: str, host: str, is_spared: bool) -> None:
    found = proxy_for(URL(f"https://{host}/v2/"), {**BOTH, "NO_PROXY": spared})

    assert (found is None) == is_spared


@pytest.mark.parametrize(
    ("proxy", "told"),
    [
        ("socks5://user:secret@proxy.test:1080", "HTTPS_PROXY is socks5://proxy.test; allowed"),
        ("ftp://proxy.test", "HTTPS_PROXY is ftp://proxy.test; allowed"),
        ("http://[", "HTTPS_PROXY is no address of a proxy; allowed"),
        ("http://", "HTTPS_PROXY is no address of a proxy; allowed"),
        ("://secret", "HTTPS_PROXY is no address of a proxy; allowed"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_told_and_not_gone_around(proxy: str, told: str) -> None:
    with pytest.raises(ProxyError, match=told) as caught:
        proxy_for(URL("https://r.test/v2/"), {"HTTPS_PROXY": proxy})

    assert "secret" not in str(caught.value)


def test_a_proxy_that_cannot_be_used_is_nothing_to_hosts_that_are_spared() -> None:
    environ = {"HTTPS_PROXY": "socks5://proxy.test:1080", "NO_PROXY": "r.test"}

    assert proxy_for(URL("https://r.test/v2/"), environ) is None
