"""Tells systemd that the server serves, for units with Type=notify."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)


def tell(environment: Mapping[str, str], message: str = "READY=1") -> None:
    """Sends a message as sd_notify(3) does; nothing happens without NOTIFY_SOCKET. Failures are logged."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
            sending.settimeout(1.0)
            sending.sendto(message.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError as exc:
        log.warning("systemd is not told that this server serves: NOTIFY_SOCKET is %r: %s", address, exc)
