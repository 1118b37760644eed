"""What settings name, looked at without a server and without connecting to anything."""

from __future__ import annotations

import ssl
from pathlib import Path

from blade_server.app.operator import token_in
from blade_server.app.state import checked_database_url
from blade_server.catalog import Catalog
from blade_server.settings import Settings
from blade_server.tls import Certificates


def check_named(settings: Settings) -> None:
    """Raises ValueError or OSError, one sentence, for a file or an address that no server could start with."""
    if settings.database_url is not None:
        checked_database_url("DATABASE_URL", settings.database_url)
    if settings.listen_database_url is not None:
        checked_database_url("BLADE_LISTEN_DATABASE_URL", settings.listen_database_url)
    if settings.admin_token_file is not None:
        token_in(settings.admin_token_file)
    Catalog(settings.catalog_url, settings.catalog_token, settings.catalog_ca_file, 1.0, 1).close()
    _check_tls(settings)
    _check_authority("BLADE_WAREHOUSE_CA_FILE", settings.warehouse_ca_file)
    _check_authority("BLADE_CATALOG_CA_FILE", settings.catalog_ca_file)
    _check_authority("BLADE_OIDC_CA_FILE", settings.oidc_ca_file)
    if settings.secret_dir is not None and not settings.secret_dir.is_dir():
        raise ValueError(f"BLADE_SECRET_DIR is {str(settings.secret_dir)!r}, which is no folder")


def _check_tls(settings: Settings) -> None:
    cert, key, client_ca = settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
    if cert is not None and key is not None:
        Certificates(cert, key, client_ca)
    elif cert is not None or key is not None or client_ca is not None:
        raise ValueError("TLS needs both BLADE_TLS_CERT_FILE and BLADE_TLS_KEY_FILE")


def _check_authority(variable: str, file: Path | None) -> None:
    if file is None:
        return
    try:
        ssl.create_default_context(cafile=file)
    except OSError as exc:  # ssl.SSLError is one
        why = "no certificate of an authority" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise ValueError(f"{variable} is {str(file)!r}, which cannot be used: {why}") from exc
