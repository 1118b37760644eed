"""Why no BLADE server answers at an address where something does: asks the port itself, because gRPC does not tell."""

from __future__ import annotations

import os
import re
import socket
import ssl
from typing import Literal
from urllib.request import proxy_bypass

Problem = Literal["", "no TLS", "TLS", "HTTP", "untrusted", "wrong name"]

_ASK_S = 2.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_NAME_ERRORS = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


def problem_at(target: str, *, secure: bool, ca_file: str | os.PathLike[str] | None) -> tuple[Problem, str]:
    """What is wrong and a sentence about it; both empty if nobody answers there, or a gRPC server does.

    Blocks, for a few seconds at most.
    """
    found = re.fullmatch(r"\[?([^\[\]]+?)\]?:(\d+)", target)
    if found is None:
        return "", ""
    address = (found[1], int(found[2]))
    try:
        return _over_tls(target, address, ca_file) if secure else _in_plain(target, address)
    except (OSError, ValueError):
        return "", ""


def _over_tls(target: str, address: tuple[str, int], ca_file: str | os.PathLike[str] | None) -> tuple[Problem, str]:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection(address, _ASK_S) as plain,
            context.wrap_socket(plain, server_hostname=address[0]) as safe,
        ):
            return ("", "") if safe.selected_alpn_protocol() == "h2" else _http(target)
    except ssl.SSLCertVerificationError as exc:
        if exc.verify_code in _NAME_ERRORS:
            return "wrong name", f"The certificate of the server at {target} is for another name than {address[0]}."
        return "untrusted", f"The certificate of the server at {target} is not trusted: {exc.verify_message}."
    except ssl.SSLError as exc:
        if "ALERT" in (exc.reason or ""):
            return "", ""
        return "no TLS", f"The server at {target} speaks no TLS."


def _in_plain(target: str, address: tuple[str, int]) -> tuple[Problem, str]:
    with socket.create_connection(address, _ASK_S) as connection:
        try:
            connection.sendall(_PREFACE)
            answer = connection.recv(9)
        except OSError:
            answer = b""
    if answer[3:4] == b"\x04":  # the SETTINGS with which a gRPC server begins
        return "", ""
    if answer and not answer.startswith(b"\x15\x03"):  # an alert of TLS
        return _http(target)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(address, _ASK_S) as plain, context.wrap_socket(plain):
        return "TLS", f"The server at {target} speaks TLS."


def _http(target: str) -> tuple[Problem, str]:
    return "HTTP", f"The port at {target} is not one for gRPC; is it the HTTP port?"


def proxy_words(target: str) -> str:
    """What the environment's proxy has to do with it; empty without one. The names and their order are gRPC's."""
    names = [name for name in ("grpc_proxy", "https_proxy", "http_proxy") if os.environ.get(name)]
    if not names or proxy_bypass(target.rpartition(":")[0]):
        return ""
    proxy = re.sub(r"^(.*//)?.*@", r"\1***@", os.environ[names[0]])
    if not proxy.startswith("http://"):
        return f" ({names[0]} is {proxy!r}, a proxy that gRPC does not know and goes without)"
    return f" (through the proxy {proxy} of {names[0]})"
