"""Trusted authorities: this machine's, or those that a variable names."""

import ssl
from pathlib import Path

import pytest

from harvester.domain.errors import UsageError
from harvester.settings.ca_certificates import trusted

DEFAULT = ssl.get_default_verify_paths().openssl_cafile


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    pem = next((path for path in (Path(DEFAULT), Path("/etc/ssl/certs/ca-certificates.crt")) if path.is_file()), None)
    if pem is None:
        pytest.skip("this machine has no file of authorities to copy one from")
    text = pem.read_text("utf-8", "replace")
    begin, end = text.index("-----BEGIN CERTIFICATE"), text.index("-----END CERTIFICATE-----")
    path = tmp_path / "ca.pem"
    path.write_text(f"{text[begin:end]}-----END CERTIFICATE-----\n")
    return str(path)


def test_without_variables_this_machine_is_trusted() -> None:
    trust = trusted({})
    assert trust.described.startswith("this machine's, in ")
    assert (trust.context.verify_mode, trust.context.check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_variable_names_the_file(name: str, bundle: str) -> None:
    trust = trusted({name: bundle})
    assert (trust.described, len(trust.context.get_ca_certs())) == (f"{bundle}, from {name}", 1)
    assert (trust.context.verify_mode, trust.context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_the_variable_of_openssl_goes_first(bundle: str) -> None:
    environ = {"REQUESTS_CA_BUNDLE": "/nowhere", "SSL_CERT_FILE": bundle, "SSL_CERT_DIR": "/nowhere"}
    assert trusted(environ).described == f"{bundle}, from SSL_CERT_FILE"


@pytest.mark.parametrize("name", ["SSL_CERT_DIR", "CURL_CA_BUNDLE"])
def test_a_folder_has_hashed_names(name: str, tmp_path: Path) -> None:
    (tmp_path / "0123abcd.0").touch()
    assert trusted({name: str(tmp_path)}).described == f"{tmp_path}, from {name}"


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("content", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_of_no_use_is_named_with_a_remedy(name: str, content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=f"{name} names {path}, which ") as raised:
        trusted({name: str(path)})
    assert raised.value.remedy


def test_a_folder_of_no_use_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="openssl rehash"):
        trusted({"SSL_CERT_DIR": str(tmp_path)})
