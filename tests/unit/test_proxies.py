"""Which proxy the variables name, and for whom."""

import pytest

from harvester.domain.errors import UsageError
from harvester.settings.proxies import proxy_for

API = "https://api.twelvelabs.io/v1.3"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128, from HTTPS_PROXY"),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128, from https_proxy"),
        ({"https_proxy": "a:1", "HTTPS_PROXY": "b:2"}, "http://a:1, from https_proxy"),
        ({"https_proxy": "", "HTTPS_PROXY": "b:2"}, None),
        ({"HTTPS_PROXY": "", "ALL_PROXY": "c:3"}, "http://c:3, from ALL_PROXY"),
        ({"all_proxy": "c:3"}, "http://c:3, from all_proxy"),
        ({"HTTP_PROXY": "http://proxy:3128"}, None),
        ({"HTTPS_PROXY": "proxy"}, "http://proxy:80, from HTTPS_PROXY"),
        ({"HTTPS_PROXY": "https://proxy"}, "https://proxy:443, from HTTPS_PROXY"),
        ({"HTTPS_PROXY": " http://proxy:1/ "}, "http://proxy:1, from HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://[::1]:8080"}, "http://[::1]:8080, from HTTPS_PROXY"),
        ({"HTTPS_PROXY": "HTTP://Proxy:1"}, "http://proxy:1, from HTTPS_PROXY"),
        ({"HTTPS_PROXY": "http://me:pass@proxy:1"}, "http://proxy:1 (with credentials), from HTTPS_PROXY"),
        ({"HTTPS_PROXY": "h:1", "ALL_PROXY": "socks5://s:1"}, "http://h:1, from HTTPS_PROXY"),
    ],
)
def test_a_proxy_is_found_as_other_clients_find_it(environ: dict[str, str], expected: str | None) -> None:
    proxy = proxy_for(API, environ)
    assert (None if proxy is None else str(proxy)) == expected


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8080", "https://localhost/v1.3", "https://[::1]:1/v1.3"])
def test_this_machine_is_asked_directly(base_url: str) -> None:
    assert proxy_for(base_url, {"HTTPS_PROXY": "http://proxy:1", "HTTP_PROXY": "http://proxy:1"}) is None


@pytest.mark.parametrize(
    ("exempt", "is_direct"),
    [
        ("*", True),
        ("api.twelvelabs.io", True),
        ("API.TwelveLabs.IO", True),
        ("twelvelabs.io", True),
        (".twelvelabs.io", True),
        ("*.twelvelabs.io", True),
        ("twelvelabs.io.", True),
        ("localhost, twelvelabs.io", True),
        ("localhost twelvelabs.io", True),
        ("api.twelvelabs.io:443", True),
        ("api.twelvelabs.io:8443", False),
        ("labs.io", False),
        ("api", False),
        ("10.0.0.0/8", False),
        (",", False),
        ("", False),
    ],
)
def test_no_proxy_exempts_hosts_and_their_domains(exempt: str, *, is_direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert (proxy_for(API, {"HTTPS_PROXY": "http://proxy:1", name: exempt}) is None) == is_direct


@pytest.mark.parametrize(
    ("exempt", "is_direct"),
    [("10.0.0.0/8", True), ("10.1.2.3", True), ("10.1.2.3:8443", True), ("10.1.2.3:443", False), ("11.0.0.0/8", False)],
)
def test_no_proxy_exempts_addresses_and_networks(exempt: str, *, is_direct: bool) -> None:
    environ = {"HTTPS_PROXY": "http://proxy:1", "NO_PROXY": exempt}
    assert (proxy_for("https://10.1.2.3:8443/v1.3", environ) is None) == is_direct


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("socks5://me:s3cret@proxy:1", "a SOCKS proxy, which is not supported"),
        ("socks5h://proxy:1", "a SOCKS proxy, which is not supported"),
        ("ftp://me:s3cret@proxy:1", "does not name an HTTP proxy"),
        ("http://me:s3cret@proxy:port", "it is no URL"),
        ("http://me:s3cret@", "does not name an HTTP proxy"),
        ("http://[me:s3cret", "it is no URL"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_without_its_value(value: str, says: str) -> None:
    with pytest.raises(UsageError) as raised:
        proxy_for(API, {"ALL_PROXY": value})
    text = str(raised.value)
    assert ("ALL_PROXY" in text, says in text, "s3cret" in text, "NO_PROXY" in text) == (True, True, False, True)
    assert proxy_for(API, {"ALL_PROXY": value, "NO_PROXY": "twelvelabs.io"}) is None


def test_credentials_are_in_the_header_and_not_in_what_is_printed() -> None:
    proxy = proxy_for(API, {"HTTPS_PROXY": "http://me%40home:s3cret%2F1@proxy:1"})
    assert proxy is not None
    assert proxy.authorization == "Basic bWVAaG9tZTpzM2NyZXQvMQ=="
    assert ("s3cret" in repr(proxy) + str(proxy) + proxy.url, "s3cret/1" in proxy.secrets) == (False, True)
