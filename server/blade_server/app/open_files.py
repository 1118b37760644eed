"""How many files and sockets this process may have open, and how many of them are for callers."""

from __future__ import annotations

import logging
import resource

log = logging.getLogger(__name__)

OWN_FILES = 400
"""For PostgreSQL, warehouse, catalog, HTTP, logs: what is not a connection to the gRPC port."""


def room_for(connections: int) -> int:
    """So many of these connections may be open. Raises the soft limit of open files as far as that takes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OWN_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    room = max(16, soft - OWN_FILES)
    log.warning("the limit of open files (%d) leaves room for %d connections, not %d", soft, room, connections)
    return room
