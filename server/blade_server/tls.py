"""The certificate of a port, read again when its files change; one that cannot be used is logged, and not used."""

from __future__ import annotations

import logging
import ssl
import threading
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509

log = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


class CertificateError(OSError):
    """The files cannot be used; one sentence for people."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What the files held at one moment, tried out: PEM, and a context for connections from then on."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    context: ssl.SSLContext


class Certificates:
    """A certificate with its key and, for certificates of clients, the authority that signs those. Thread-safe."""

    def __init__(self, cert_file: Path, key_file: Path, client_ca_file: Path | None = None) -> None:
        """Raises CertificateError."""
        self._cert_file, self._key_file, self._client_ca_file = cert_file, key_file, client_ca_file
        self._lock = threading.Lock()
        self._complained_of = ""
        try:
            self._seen = self._stamp()
            self._loaded = self._load()
        except OSError as exc:  # ssl.SSLError is one
            raise CertificateError(f"{self._named} cannot be used: {exc}") from exc

    def current(self) -> Loaded:
        """The newest that is good. Asked at each handshake, it looks at its files and seldom reads them."""
        with self._lock:
            try:
                stamp = self._stamp()
                if stamp != self._seen:
                    loaded = self._load()
                    if stamp == self._stamp():  # otherwise they are being written; the next handshake looks again
                        self._loaded, self._seen, self._complained_of = loaded, stamp, ""
                        log.info("%s is read again", self._named)
            except OSError as exc:
                if str(exc) != self._complained_of:
                    log.error("%s cannot be used, the one before is kept: %s", self._named, exc)
                self._complained_of = str(exc)
            return self._loaded

    def context(self) -> ssl.SSLContext:
        """A context for a server that lives long: each handshake is done with the certificate of that moment."""
        context = self.current().context

        def choose(connection: Any, name: str | None, asked: ssl.SSLContext) -> None:
            connection.context = self.current().context

        context.sni_callback = choose  # called for clients as well that name no host
        return context

    @property
    def _named(self) -> str:
        authority = f" with the clients' authority {self._client_ca_file}" if self._client_ca_file else ""
        return f"the TLS certificate {self._cert_file} and key {self._key_file}{authority}"

    def _stamp(self) -> _Stamp:
        files = (self._cert_file, self._key_file, self._client_ca_file)
        found = (file.stat() for file in files if file is not None)
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)

    def _load(self) -> Loaded:
        chain, key = self._cert_file.read_bytes(), self._key_file.read_bytes()
        client_ca = None if self._client_ca_file is None else self._client_ca_file.read_bytes()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._cert_file, self._key_file)
        if self._client_ca_file is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(self._client_ca_file)  # tried, no more
        return Loaded(chain=chain, key=key, client_ca=client_ca, context=context)


@lru_cache(maxsize=1024)
def end_of(certificate: bytes) -> datetime | None:
    """When a certificate (PEM) ends; None: it is none."""
    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    except ValueError:
        return None
