import pytest

from harvester.settings.addresses import check_base_url


@pytest.mark.parametrize(
    "url",
    [
        "https://api.twelvelabs.io/v1.3",
        "https://proxy.example:8443/a/b",
        "http://localhost:8080/v1.3",
        "http://127.0.0.1:1",
        "http://127.255.0.7",
        "http://[::1]:80/v1.3",
    ],
)
def test_https_anywhere_and_http_on_this_machine_are_accepted(url: str) -> None:
    assert url == check_base_url(url)


def test_trailing_slashes_are_cut_off() -> None:
    assert check_base_url("https://example.com/v1//") == "https://example.com/v1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com",
        "https://",
        "https:example.com",
        "http://example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "https://user:password@example.com",
        "https://example.com/?x=1",
        "https://example.com/?",
        "https://example.com/#",
        "https://example.com:port",
        "https://example.com:99999",
        "https://[::1",
        "https://example.com/a b",
        "https://example.com/\r\nx-api-key: stolen",
        "https://example.com\\@evil.example",
        "https://exämple.com",
    ],
)
def test_every_other_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|user info|unencrypted") as caught:
        check_base_url(url)

    assert "password" not in str(caught.value)
