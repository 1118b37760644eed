"""What an operator has decided, in the parts that the rooms of the server need; `app` makes them of the settings.

Secrets are held as SecretStr, so that printing a policy shows none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from pydantic import SecretStr

from blade_server.model.destination import Destination

MAX_LEASE_S = 300.0
"""The longest lease: one that seems to last longer was given before PostgreSQL's clock was set back."""


@dataclass(frozen=True, kw_only=True)
class WarehousePolicy:
    """The server's own warehouse and credentials, and which others sources may name.

    `allowed_hosts` has the references to credentials (`env:X`, `file:X`) that are bound to each host; none: those that
    sources name already. `timeout_s` is the longest wait for one answer; `secret_dir` the root of `file:` references
    (None: none allowed), `result_domains` patterns of hosts that a warehouse may have results at, beside its own.
    """

    host: str = ""
    http_path: str = ""
    token: SecretStr | None = None
    client_id: str = ""
    client_secret: SecretStr | None = None
    ca_file: Path | None = None
    allowed_hosts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    secret_dir: Path | None = None
    timeout_s: float = 60.0
    result_domains: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SourcePolicy:
    """What a source may say, and where it may lead.

    `classifications`: those that items may have, lowest first. `allowed_tables`: patterns of full names
    (`main.reference.*`) that SQL may read though they are no sources.
    """

    warehouse: WarehousePolicy
    classifications: tuple[str, ...]
    allowed_tables: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DestinationPolicy:
    """Which catalogs destinations may name, and how they are spoken to.

    `own` is the server's. `allowed_hosts` has the references to tokens that are bound to each `host` or `host:port`.
    `settle_s`: how long a catalog may go on with an upload whose answer was lost; `connections` to each.
    """

    own: Destination
    classifications: tuple[str, ...]
    allowed_hosts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    secret_dir: Path | None = None
    timeout_s: float = 30.0
    settle_s: float = 60.0
    connections: int = 16


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """`attempts` retries after the first attempt, the first of them after `base_s` seconds, then longer."""

    attempts: int = 3
    base_s: float = 2.0


@dataclass(frozen=True, kw_only=True)
class DirectPolicy:
    """Calls without a job: queries, previews, single items. `max_queries` streams at once."""

    source: SourcePolicy
    retry: RetryPolicy
    query_timeout_s: float = 300.0
    max_queries: int = 32


@dataclass(frozen=True, kw_only=True)
class JobPolicy:
    """Jobs as callers ask for them. `workers` is the default of a job's upload threads; a lease lasts `lease_s`.

    `max_own_jobs`: of one principal that are not final; 0: no limit.
    """

    direct: DirectPolicy
    max_open_jobs: int = 10_000
    max_own_jobs: int = 0
    workers: int = 8
    lease_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class EnginePolicy:
    """Jobs as a process runs them; all durations in seconds.

    A lease lasts `lease_s` and is renewed every `beat_s`; a paused job keeps its cursor for `pause_hold_s`; a stopping
    process waits `drain_s` for uploads in flight. `patience_s` is how long uploads may fail with the catalog well
    before items are errors.
    """

    source: SourcePolicy
    retry: RetryPolicy
    max_running_jobs: int = 4
    lease_s: float = 10.0
    beat_s: float = 3.0
    pause_hold_s: float = 300.0
    drain_s: float = 30.0
    patience_s: float = 120.0


@dataclass(frozen=True, kw_only=True)
class ListenPolicy:
    """One port: `host` a name or address, `port` 0 for a free one; both TLS files or none.

    `max_connections`: further ones are closed at once. `client_ca_file`: who signs the certificates of clients, which
    sign in at a port of their own, `mtls_port`; None: there is none.
    """

    host: str = "127.0.0.1"
    port: int = 0
    max_connections: int = 12_000
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    client_ca_file: Path | None = None
    mtls_port: int = 0


@dataclass(frozen=True, kw_only=True)
class OidcPolicy:
    """The identity provider whose tokens are good. `ca_file`: authorities to trust, None: the system's.

    A claim within others is named with dots.
    """

    issuer: str
    audience: str
    subject_claim: str = "sub"
    groups_claim: str = "groups"
    ca_file: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PrincipalLimits:
    """What one principal may take of a server, and of all replicas for `jobs` that are not final. 0: no limit."""

    calls_per_s: float = 0.0
    queries: int = 0
    watchers: int = 0
    jobs: int = 0


@dataclass(frozen=True, kw_only=True)
class NotifyPolicy:
    """Where notifications may go: `allowed_hosts`, with a port unless it is the usual one, and the references that are
    bound to each. `secret_dir` as in WarehousePolicy; an attempt takes `timeout_s` at most.
    """

    allowed_hosts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    secret_dir: Path | None = None
    timeout_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class WebPolicy:
    """The HTTP port. `allowed_hosts`: names it is reached by, besides those of this machine; `*`: any.

    `trusted_proxies` say in X-Forwarded-For and X-Forwarded-Proto who asks, and how. `open_contract` as in
    AccessPolicy. `query_timeout_s` is the longest run of a direct query, which bounds a call.
    """

    listen: ListenPolicy
    allowed_hosts: frozenset[str] = frozenset()
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    open_contract: bool = False
    query_timeout_s: float = 300.0


@dataclass(frozen=True, kw_only=True)
class AccessPolicy:
    """Who may call. `required` False: anybody may do everything. `admins`: `subject:NAME` and `group:NAME`.

    `open_contract`: reflection, /openapi.json and /docs are for those as well who are not signed in.
    """

    required: bool = True
    admins: frozenset[str] = frozenset()
    open_contract: bool = False
    oidc: OidcPolicy | None = None
