"""Which warehouse to talk to and as whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from blade_server.addresses import proxy_for


@dataclass(frozen=True, kw_only=True)
class Target:
    """One SQL warehouse and the credentials for it: a token, or a client id with its secret (OAuth M2M).

    `host` is a host name, with `:port` if it is not 443; `http://host:port` speaks plain HTTP, as the sandbox does.
    `timeout_s` is the longest wait for one answer, `result_domains` are patterns of hosts that it may have results at;
    `own`: it is the server's own warehouse.
    """

    host: str
    http_path: str
    token: SecretStr | None = None
    client_id: str = ""
    client_secret: SecretStr | None = None
    ca_file: Path | None = None
    timeout_s: float = 60.0
    result_domains: tuple[str, ...] = ()
    own: bool = field(default=False, compare=False)

    @cached_property
    def base_url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return (self.host if "://" in self.host else f"https://{self.host}").rstrip("/")

    @property
    def secure(self) -> bool:
        """Whether it is HTTPS."""
        return self.base_url.startswith("https://")

    @property
    def hostname(self) -> str:
        """The host name alone."""
        return urlsplit(self.base_url).hostname or self.host

    @property
    def port(self) -> int:
        """The TCP port."""
        return urlsplit(self.base_url).port or (443 if self.secure else 80)

    @property
    def proxy(self) -> SplitResult | None:
        """The proxy of this environment that leads to it. Raises ValueError for one that the driver does not know."""
        return proxy_for("https" if self.secure else "http", self.hostname)

    @property
    def warehouse_id(self) -> str:
        """Id of the warehouse: the last part of its HTTP path."""
        return self.http_path.split("?")[0].rstrip("/").rpartition("/")[2]

    def __str__(self) -> str:
        return f"warehouse {self.warehouse_id!r} on {self.host}"
