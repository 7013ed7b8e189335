"""Chooses the trusted certificate authorities: this machine's, or those that a variable names.

`SSL_CERT_FILE` and `SSL_CERT_DIR` are OpenSSL's own; `REQUESTS_CA_BUNDLE` and `CURL_CA_BUNDLE` name a file or a folder.
"""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harvester.domain.errors import UsageError

_FILE, _FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")


@dataclass(frozen=True, slots=True)
class Trust:
    """The TLS context, and the source of its authorities. `is_empty`: there are none."""

    context: ssl.SSLContext
    described: str
    is_empty: bool = False


def trusted(environ: Mapping[str, str]) -> Trust:
    """Return the trusted authorities; verification is always on. Raises UsageError for an unusable file or folder."""
    variables = [name for name in (_FILE, _FOLDER) if environ.get(name)]
    if len(variables) > 1 and not _folders_of(environ[_FOLDER]):
        # The file is enough; the folder may be the usual one, which some systems leave empty.
        variables = [_FILE]
    if not variables:
        variables = [name for name in _BUNDLES if environ.get(name)][:1]
    if not variables:
        return _of_the_machine()
    default = ssl.get_default_verify_paths()
    # As in OpenSSL, a variable for the file leaves the folder as it is, and the other way round.
    file, folders = default.openssl_cafile, [default.openssl_capath]
    for name in variables:
        is_folder = name == _FOLDER or (name in _BUNDLES and Path(environ[name]).is_dir())
        if name in _BUNDLES:
            file, folders = "", []
        if is_folder:
            folders = _folders(name, environ[name])
        else:
            file = _file(name, Path(environ[name]))
    context = ssl.create_default_context(
        cafile=file if file and Path(file).is_file() else None, capath=os.pathsep.join(folders) or None
    )
    return Trust(context, ", ".join(f"{environ[name]}, from {name}" for name in variables))


def _of_the_machine() -> Trust:
    context, default = ssl.create_default_context(), ssl.get_default_verify_paths()
    places = [place for place in (default.openssl_cafile, default.openssl_capath) if Path(place).exists()]
    is_empty = not context.cert_store_stats()["x509_ca"] and not _is_hashed(default.openssl_capath)
    return Trust(context, f"this machine's, in {' and '.join(places) or default.openssl_cafile}", is_empty)


def _file(name: str, path: Path) -> str:
    remedy = f"Let {name} name a readable file of CA certificates in PEM, or unset it."
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise UsageError(f"{name} names {path}, which holds no CA certificates.", remedy=remedy) from None
    except OSError as error:
        raise UsageError(f"{name} names {path}, which cannot be read: {error.strerror}.", remedy=remedy) from None
    return str(path)


def _folders(name: str, value: str) -> list[str]:
    folders = _folders_of(value)
    if not folders:
        raise UsageError(
            f"{name} names {value}, where there are no CA certificates under hashed names.",
            remedy=f"Run `openssl rehash` on the folder, or unset {name}.",
        )
    return folders


def _folders_of(value: str) -> list[str]:
    return [folder for folder in value.split(os.pathsep) if _is_hashed(folder)]


def _is_hashed(folder: str) -> bool:
    try:
        return any(_HASHED.fullmatch(entry.name) for entry in Path(folder).iterdir())
    except OSError:
        return False
