"""TLS of the gRPC ports, and whom a client's certificate names."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import grpc
import grpc.aio

from blade_server.model.access import is_name
from blade_server.tls import Certificates, Loaded, end_of

_NAMES = ("peer_uri", "peer_dns")
"""What gRPC calls the names of a type in a certificate's subjectAltName. URIs are SPIFFE ids."""
_PEM = "x509_pem_cert"


def server_credentials(certificates: Certificates, *, of_clients: bool = False) -> grpc.ServerCredentials:
    """For a port whose every handshake is done with the certificate of that moment.

    `of_clients`: no connection without a certificate that the clients' authority has signed. (gRPC's Python library
    cannot ask for one and do without.)
    """
    held = certificates.current()

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal held
        current = certificates.current()
        if current is held:
            return None
        held = current
        return _configuration(current, of_clients)

    # The stubs do not know that None means: as before.
    return grpc.dynamic_ssl_server_credentials(_configuration(held, of_clients), newer, of_clients)  # type: ignore[arg-type]


def _configuration(loaded: Loaded, of_clients: bool) -> grpc.ServerCertificateConfiguration:
    roots = loaded.client_ca if of_clients else None
    return grpc.ssl_server_certificate_configuration([(loaded.key, loaded.chain)], root_certificates=roots)


def name_in_certificate(context: grpc.aio.ServicerContext[Any, Any]) -> tuple[str, datetime | None]:
    """The first URI in the certificate of a call's connection, else its first DNS name, and when the certificate ends.

    The name is empty if there is none; the time None, if nothing is known of it.
    """
    found = context.auth_context()
    for kind in _NAMES:
        for raw in found.get(kind, ()):
            name = raw.decode("utf-8", "replace")
            return (name if is_name(name) else ""), end_of(next(iter(found.get(_PEM, ())), b""))
    return "", None
