"""A call as those around it see it: bytes in, bytes out.

The bytes of request and answer pass through here, so that a request that does not parse is told apart from a bug, and
an answer that was serialised in a thread, or once for many watchers, goes out as it is. A handler of a stream writes
its messages itself, as bytes: `await context.write(message)`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from blade_server.rpc.caller import Context

Call: TypeAlias = Callable[[bytes, Context], Awaitable[bytes | None]]
