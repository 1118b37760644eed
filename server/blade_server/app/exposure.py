"""What a server that others can reach must not be: open to everybody, or in plaintext by mistake."""

from __future__ import annotations

import logging

from blade_server.addresses import is_loopback
from blade_server.settings import Settings

log = logging.getLogger(__name__)


def check_exposure(settings: Settings) -> None:
    """Raises ValueError, one sentence with the ways out, for a server that others must not reach as it is set up."""
    if is_loopback(settings.host):
        return
    if settings.auth == "off":
        raise ValueError(
            f"BLADE_AUTH=off lets in everybody who can reach BLADE_HOST={settings.host}: listen on 127.0.0.1, or set "
            "BLADE_AUTH=on"
        )
    if settings.tls_cert_file is None and settings.tls_key_file is None and settings.plaintext != "behind-proxy":
        raise ValueError(
            f"others can reach BLADE_HOST={settings.host}, and tokens would go there in plaintext: set "
            "BLADE_TLS_CERT_FILE and BLADE_TLS_KEY_FILE, or, behind a proxy that speaks TLS, "
            "BLADE_PLAINTEXT=behind-proxy"
        )


def warn_of_exposure(settings: Settings) -> None:
    """Says in the log what is open on purpose."""
    if settings.auth == "off":
        log.warning("authentication is off (BLADE_AUTH=off): everybody on this machine may do everything")
    if settings.plaintext == "behind-proxy" and settings.tls_cert_file is None:
        log.warning(
            "this server speaks plaintext (BLADE_PLAINTEXT=behind-proxy): let nobody reach its ports but the proxy"
        )
