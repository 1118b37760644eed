"""The settings of an operator as the policies of the rooms."""

from __future__ import annotations

from dataclasses import replace

from blade_server.app.open_files import room_for
from blade_server.core.access.door import admins_of
from blade_server.model.policy import (
    AccessPolicy,
    DirectPolicy,
    EnginePolicy,
    JobPolicy,
    ListenPolicy,
    PrincipalLimits,
    RetryPolicy,
    SourcePolicy,
    WarehousePolicy,
)
from blade_server.settings import Settings


def source_policy(settings: Settings) -> SourcePolicy:
    """For sources."""
    warehouse = WarehousePolicy(
        host=settings.databricks_server_hostname,
        http_path=settings.databricks_http_path,
        token=settings.databricks_token,
        client_id=settings.databricks_client_id,
        client_secret=settings.databricks_client_secret,
        ca_file=settings.warehouse_ca_file,
        allowed_hosts=settings.allowed_warehouse_hosts,
        secret_dir=settings.secret_dir,
        timeout_s=settings.warehouse_timeout_s,
    )
    return SourcePolicy(warehouse=warehouse, classifications=settings.known_classifications)


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


def access_policy(settings: Settings) -> AccessPolicy:
    """For who may call. Raises ValueError for BLADE_ADMINS."""
    return AccessPolicy(
        required=settings.auth == "on", admins=admins_of(settings.admins), open_contract=settings.open_contract
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
    return replace(_listen(settings, settings.port), max_connections=room_for(settings.max_connections))


def web_policy(settings: Settings) -> ListenPolicy:
    """For the HTTP port."""
    return _listen(settings, settings.listens_for_http_on)


def _listen(settings: Settings, port: int) -> ListenPolicy:
    return ListenPolicy(
        host=settings.host, port=port, tls_cert_file=settings.tls_cert_file, tls_key_file=settings.tls_key_file
    )
