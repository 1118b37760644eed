"""The settings of an operator as the policies of the rooms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from blade_server.addresses import checked_url, is_loopback, without_user
from blade_server.app.open_files import room_for
from blade_server.core.access.door import admins_of
from blade_server.core.jobs.checks import MAX_WORKERS
from blade_server.model.destination import DEFAULT_DESTINATION, Destination
from blade_server.model.policy import (
    AccessPolicy,
    DestinationPolicy,
    DirectPolicy,
    EnginePolicy,
    JobPolicy,
    ListenPolicy,
    NotifyPolicy,
    OidcPolicy,
    PrincipalLimits,
    RetryPolicy,
    SourcePolicy,
    WarehousePolicy,
    WebPolicy,
)
from blade_server.settings import Settings

_SPARE_CONNECTIONS = 16  # to a catalog, beside those of the jobs: single ingestion and probes


def source_policy(settings: Settings) -> SourcePolicy:
    """For sources."""
    warehouse = WarehousePolicy(
        host=settings.databricks_server_hostname,
        http_path=settings.databricks_http_path,
        token=settings.databricks_token,
        client_id=settings.databricks_client_id,
        client_secret=settings.databricks_client_secret,
        ca_file=settings.warehouse_ca_file,
        allowed_hosts=settings.warehouse_hosts,
        secret_dir=settings.secret_dir,
        timeout_s=settings.warehouse_timeout_s,
        result_domains=settings.warehouse_result_domains,
    )
    return SourcePolicy(
        warehouse=warehouse,
        classifications=settings.classifications,
        allowed_tables=settings.allowed_tables,
    )


def unbound_hosts(settings: Settings) -> Iterator[str]:
    """A sentence for each host that sources may name and that no credentials are bound to."""
    for host in (host for host, references in settings.warehouse_hosts.items() if not references):
        yield (
            f"BLADE_ALLOWED_WAREHOUSE_HOSTS names {host} and binds no credentials to it: those that sources name "
            f"already are sent there, and no others; write {host}=env:NAME"
        )


def destination_policy(settings: Settings) -> DestinationPolicy:
    """For catalogs by name."""
    own = Destination(
        name=DEFAULT_DESTINATION,
        display_name="The server's own catalog",
        url=settings.catalog_url,
        credentials="env:BLADE_CATALOG_TOKEN" if settings.catalog_token else "",
        timeout_s=settings.catalog_timeout_s,
    )
    return DestinationPolicy(
        own=own,
        classifications=settings.classifications,
        allowed_hosts=settings.catalog_hosts,
        secret_dir=settings.secret_dir,
        timeout_s=settings.catalog_timeout_s,
        settle_s=settings.catalog_settle_s,
        connections=settings.max_running_jobs * MAX_WORKERS + _SPARE_CONNECTIONS,
    )


def retry_policy(settings: Settings) -> RetryPolicy:
    """For what is transient."""
    return RetryPolicy(attempts=settings.retry_attempts, base_s=settings.retry_base_s)


def direct_policy(settings: Settings) -> DirectPolicy:
    """For queries and single items."""
    return DirectPolicy(
        source=source_policy(settings),
        retry=retry_policy(settings),
        query_timeout_s=settings.query_timeout_s,
        max_queries=settings.max_direct_queries,
    )


def job_policy(settings: Settings) -> JobPolicy:
    """For the calls about jobs."""
    return JobPolicy(
        direct=direct_policy(settings),
        max_open_jobs=settings.max_open_jobs,
        max_own_jobs=settings.principal_jobs,
        workers=settings.upload_workers,
        lease_s=settings.lease_s,
    )


def engine_policy(settings: Settings) -> EnginePolicy:
    """For what runs jobs."""
    return EnginePolicy(
        source=source_policy(settings),
        retry=retry_policy(settings),
        max_running_jobs=settings.max_running_jobs,
        lease_s=settings.lease_s,
        beat_s=settings.lease_beat_s,
        pause_hold_s=settings.pause_hold_s,
        drain_s=settings.drain_timeout_s,
        patience_s=settings.catalog_patience_s,
    )


def notify_policy(settings: Settings) -> NotifyPolicy:
    """For what is told to others."""
    return NotifyPolicy(allowed_hosts=settings.webhook_hosts, secret_dir=settings.secret_dir)


def access_policy(settings: Settings) -> AccessPolicy:
    """For who may call. Raises ValueError for BLADE_ADMINS, BLADE_OIDC_ISSUER and BLADE_OIDC_AUDIENCE."""
    return AccessPolicy(
        required=settings.auth == "on",
        admins=admins_of(settings.admins),
        open_contract=settings.open_contract,
        oidc=_oidc_policy(settings),
    )


def _oidc_policy(settings: Settings) -> OidcPolicy | None:
    issuer, audience = settings.oidc_issuer, settings.oidc_audience
    if not issuer and not audience:
        return None
    if not issuer or not audience:
        raise ValueError(
            "BLADE_OIDC_ISSUER and BLADE_OIDC_AUDIENCE belong together: without the audience, tokens for any other "
            "service of that provider would be good here"
        )
    parts = checked_url("BLADE_OIDC_ISSUER", issuer)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError(f"BLADE_OIDC_ISSUER is {without_user(issuer)!r}: it must begin with https://")
    if parts.username or parts.query or parts.fragment:
        raise ValueError(f"BLADE_OIDC_ISSUER is {without_user(issuer)!r}: it has a user, a ? or a # in it")
    return OidcPolicy(
        issuer=issuer,
        audience=audience,
        subject_claim=settings.oidc_subject_claim,
        groups_claim=settings.oidc_groups_claim,
        ca_file=settings.oidc_ca_file,
    )


def principal_limits(settings: Settings) -> PrincipalLimits:
    """For each who calls."""
    return PrincipalLimits(
        calls_per_s=settings.principal_calls_per_s,
        queries=settings.principal_queries,
        watchers=settings.principal_watchers,
        jobs=settings.principal_jobs,
    )


def rpc_policy(settings: Settings) -> ListenPolicy:
    """For the gRPC port."""
    return replace(
        _listen(settings, settings.port),
        max_connections=room_for(settings.max_connections),
        client_ca_file=settings.tls_client_ca_file,
        mtls_port=settings.listens_for_mtls_on,
    )


def web_policy(settings: Settings) -> WebPolicy:
    """For the HTTP port. Raises ValueError for BLADE_TRUSTED_PROXIES."""
    return WebPolicy(
        listen=_listen(settings, settings.listens_for_http_on),
        allowed_hosts=frozenset(name.lower() for name in settings.allowed_hosts),
        trusted_proxies=tuple(map(_network, settings.trusted_proxies)),
        open_contract=settings.open_contract,
        query_timeout_s=settings.query_timeout_s,
    )


def _network(word: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(word, strict=False)
    except ValueError as exc:
        raise ValueError(
            f"BLADE_TRUSTED_PROXIES has {word!r}: write addresses and networks, as 10.0.0.7,172.16.0.0/12"
        ) from exc


def _listen(settings: Settings, port: int) -> ListenPolicy:
    return ListenPolicy(
        host=settings.host, port=port, tls_cert_file=settings.tls_cert_file, tls_key_file=settings.tls_key_file
    )
