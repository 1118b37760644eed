"""Everything an operator can set, read once from the environment into one frozen object.

Names carry their units. Secrets are held as SecretStr, so that printing the settings shows none.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from blade_server.addresses import checked_url, proxy_for
from blade_server.model.policy import MAX_LEASE_S

_MAX_SECRET_BYTES = 64 * 1024

_REFERENCE = re.compile(r"env:(DATABRICKS_|BLADE_SECRET_)[A-Z0-9_]+|file:[^|\s]+")

CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Settings of `blade serve`; docs/settings.md lists them for operators.

    Raises pydantic.ValidationError naming the variable and the value at fault.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_prefix="BLADE_")

    # PostgreSQL; unset: the embedded one.
    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    listen_database_url: SecretStr | None = Field(None, description="The same, around a pooler in transaction mode.")
    database_pooling: Literal["", "session", "transaction"] = Field("", description="Of a pooler; unset: found out.")
    data_dir: Path | None = Field(None, description="Folder of the embedded PostgreSQL.")
    database_pool_size: int = Field(16, ge=2, le=200)

    # Where it listens. Loopback unless told otherwise; port 0 takes a free one.
    host: str = "127.0.0.1"
    port: int = Field(50051, ge=0, le=65535)
    http_port: int | None = Field(None, ge=0, le=65535, description="Unset: 8080, or a free one if `port` is 0.")
    max_connections: int = Field(12_000, ge=16, description="Connections to the gRPC port at once.")
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    tls_client_ca_file: Path | None = Field(None, description="Authority of clients' certificates.")
    mtls_port: int | None = Field(None, ge=0, le=65535, description="Unset: 50052, or a free one if `port` is 0.")
    auth: Literal["on", "off"] = Field("on", description="off: on loopback only, anybody may do everything.")
    admin_token_file: Path | None = Field(None, description="A token `blade_ID_SECRET` that may do everything.")
    admins: CommaSeparated = Field((), description="`subject:NAME` and `group:NAME`, who are ADMIN.")
    open_contract: bool = Field(False, description="Reflection and the OpenAPI document for those not signed in.")
    audit_anchor_file: Path | None = Field(None, description="The audit log's head is added to it, each minute.")
    public_url: str = Field("", description="By which browsers reach the page, as https://blade.example.com.")
    allowed_hosts: CommaSeparated = Field((), description="Names in Host, besides those of this machine; `*`: any.")
    trusted_proxies: CommaSeparated = Field((), description="Addresses and networks whose X-Forwarded-For counts.")
    oidc_issuer: str = Field("", description="Of the identity provider, exactly as it names itself.")
    oidc_audience: str = Field("", description="`aud` of tokens that are meant for this server.")
    oidc_subject_claim: str = Field("sub", min_length=1)
    oidc_groups_claim: str = Field("groups", min_length=1)
    oidc_ca_file: Path | None = None
    oidc_name: str = Field("", max_length=60, description="What people call the provider; unset: its host.")
    oidc_client_id: str = Field("", description="As what the page signs people in at the provider; unset: it does not.")
    oidc_client_secret: SecretStr | None = None
    oidc_scopes: CommaSeparated = ("openid",)
    oidc_cli_client_id: str = Field("", description="As what `blade login --oidc` does; unset: it does not.")
    oidc_cli_scopes: CommaSeparated = ("openid", "offline_access")
    plaintext: Literal["", "behind-proxy"] = Field("", description="Off loopback without TLS: a proxy speaks it.")
    ready_file: Path | None = Field(None, description="Written when it serves, removed when it stops.")
    admin_port: int | None = Field(
        None, ge=0, le=65535, description="Probes and metrics; 0: none. Unset: 9464, or a free one if `port` is 0."
    )
    admin_host: str = "127.0.0.1"

    # Warehouse defaults: the variables of the Databricks ecosystem.
    databricks_server_hostname: str = Field("", validation_alias="DATABRICKS_SERVER_HOSTNAME")
    databricks_http_path: str = Field("", validation_alias="DATABRICKS_HTTP_PATH")
    databricks_token: SecretStr | None = Field(None, validation_alias="DATABRICKS_TOKEN")
    databricks_client_id: str = Field("", validation_alias="DATABRICKS_CLIENT_ID")
    databricks_client_secret: SecretStr | None = Field(None, validation_alias="DATABRICKS_CLIENT_SECRET")
    allowed_warehouse_hosts: CommaSeparated = ()
    allowed_tables: CommaSeparated = Field((), description="Full names that SQL may read, as main.reference.*")
    secret_dir: Path | None = Field(None, description="Root of `file:` credential references; unset: none allowed.")
    warehouse_ca_file: Path | None = None
    warehouse_timeout_s: float = Field(60.0, gt=0, description="Longest wait for one answer of the warehouse.")
    warehouse_result_domains: CommaSeparated = Field(
        (
            "s3.amazonaws.com",
            "s3.*.amazonaws.com",
            "*.s3.amazonaws.com",
            "*.s3.*.amazonaws.com",
            "*.s3.*.amazonaws.com.cn",
            "*.blob.core.windows.net",
            "*.dfs.core.windows.net",
            "*.blob.core.usgovcloudapi.net",
            "*.dfs.core.usgovcloudapi.net",
            "*.blob.core.chinacloudapi.cn",
            "*.dfs.core.chinacloudapi.cn",
            "storage.googleapis.com",
            "*.storage.googleapis.com",
            "*.storage.cloud.databricks.com",
        ),
        description="Hosts at which a warehouse may have large results, beside its own.",
    )
    query_timeout_s: float = Field(300.0, gt=0, description="Longest run of a direct query's statement.")
    max_direct_queries: int = Field(32, ge=1, description="Direct query streams at once; more are refused.")

    # Catalog.
    catalog_url: str = ""
    catalog_token: SecretStr | None = None
    catalog_ca_file: Path | None = None
    catalog_timeout_s: float = Field(30.0, gt=0, le=3600)
    allowed_catalog_hosts: CommaSeparated = Field(
        (), description="Hosts that destinations may name: HOST[:PORT], or HOST[:PORT]=env:NAME|file:PATH."
    )
    catalog_settle_s: float = Field(
        60.0, ge=0, le=86400, description="How long the catalog may go on with an upload whose answer was lost."
    )
    classifications: CommaSeparated = Field(
        (
            "UNCLASS",
            "UNCLASSIFIED",
            "CUI",
            "CONFIDENTIAL",
            "SECRET",
            "TOP SECRET",
        ),
        min_length=1,
        description="Those that items may have, lowest first.",
    )

    # Notifications.
    allowed_webhook_hosts: CommaSeparated = ()

    # Jobs.
    workers: int = Field(0, ge=0, le=64, description="Job processes beside this one; 0: jobs run in this one.")
    max_running_jobs: int = Field(4, ge=0, description="Jobs a process runs at once; 0: it only serves calls.")
    max_open_jobs: int = Field(10_000, ge=1, description="Jobs that are not final, over all replicas.")
    max_watchers: int = Field(10_000, ge=1, description="WatchJob streams at once on this server.")
    principal_calls_per_s: float = Field(0.0, ge=0, description="Calls a second of one principal; 0: no limit.")
    principal_queries: int = Field(0, ge=0, description="Direct query streams of one principal; 0: no limit.")
    principal_watchers: int = Field(0, ge=0, description="WatchJob streams of one principal; 0: no limit.")
    principal_jobs: int = Field(0, ge=0, description="Jobs of one principal that are not final; 0: no limit.")
    upload_workers: int = Field(8, ge=1, le=64, description="Default upload threads of one job.")
    lease_s: float = Field(10.0, ge=1, le=MAX_LEASE_S)
    lease_beat_s: float = Field(3.0, ge=0.2, le=100)
    pause_hold_s: float = Field(300.0, ge=0, description="How long a paused job keeps its warehouse cursor.")
    retry_attempts: int = Field(3, ge=0, le=20, description="Retries after the first attempt.")
    retry_base_s: float = Field(2.0, ge=0)
    catalog_patience_s: float = Field(
        120.0, ge=0, description="How long uploads may fail, with the catalog well, before items are errors."
    )
    job_retention_days: float = Field(30.0, gt=0)
    drain_timeout_s: float = Field(30.0, ge=0, description="How long a stopping server waits for uploads in flight.")

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, values: dict[str, Any]) -> dict[str, Any]:
        """A secret may stand in a file that a second variable names, as secrets of Docker and Kubernetes do."""
        environment = {name.upper(): value for name, value in os.environ.items() if value}
        for name, file_variable in files_of_secrets().items():
            file = environment.get(file_variable)
            if file is None or (values.get(name) and variable(name) not in environment):
                continue
            if variable(name) in environment:
                raise ValueError(f"{variable(name)} and {file_variable} are both set; unset one of them")
            values = {key: value for key, value in values.items() if key.upper() != variable(name)}
            values[name] = SecretFile(Path(file), file_variable)
        return values

    @field_validator(
        "allowed_warehouse_hosts",
        "allowed_catalog_hosts",
        "allowed_webhook_hosts",
        "allowed_tables",
        "warehouse_result_domains",
        "classifications",
        "admins",
        "allowed_hosts",
        "trusted_proxies",
        "oidc_scopes",
        "oidc_cli_scopes",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _addresses_can_work(self) -> Settings:
        named = {"DATABRICKS_SERVER_HOSTNAME": [self.databricks_server_hostname]}
        named["BLADE_ALLOWED_WAREHOUSE_HOSTS"] = list(self.allowed_warehouse_hosts)
        named["BLADE_ALLOWED_CATALOG_HOSTS"] = list(self.allowed_catalog_hosts)
        named["BLADE_ALLOWED_WEBHOOK_HOSTS"] = list(self.allowed_webhook_hosts)
        for variable, hosts in named.items():
            for host in filter(None, (entry.partition("=")[0].strip() for entry in hosts)):
                parts = checked_url(variable, host if "://" in host else f"https://{host}")
                if parts.username or parts.path.strip("/") or parts.query or parts.fragment:
                    raise ValueError(f"{variable} is a host name, with :port if need be, and nothing else")
                proxy_for(parts.scheme, parts.hostname or "")
        path = self.databricks_http_path
        if path and not re.fullmatch(r"/?[\w./-]*[\w-](\?[^\s?]*)?", path):
            raise ValueError(f"DATABRICKS_HTTP_PATH is {path!r}: it must be a path, as /sql/1.0/warehouses/ID")
        return self

    @field_validator("allowed_warehouse_hosts")
    @classmethod
    def _bind_references(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            host, binds, references = entry.partition("=")
            if not host or (binds and not all(map(_REFERENCE.fullmatch, references.split("|")))):
                raise ValueError(
                    f"what is bound to {host!r} is no reference: write HOST=env:NAME|file:PATH, where NAME begins with "
                    "DATABRICKS_ or BLADE_SECRET_"
                )
        return entries

    @field_validator("allowed_webhook_hosts", "allowed_catalog_hosts")
    @classmethod
    def _bind_secrets(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for entry in entries:
            host, binds, references = entry.partition("=")
            named = [reference for reference in references.split("|") if not reference.startswith("env:DATABRICKS_")]
            if not host or "://" in host or (binds and not all(map(_REFERENCE.fullmatch, named or [""]))):
                raise ValueError(
                    f"{host!r} is no host with what is bound to it: write HOST=env:BLADE_SECRET_NAME|file:PATH"
                )
            if binds and len(named) < len(references.split("|")):
                raise ValueError(f"a credential of the warehouse is bound to {host!r}; name it BLADE_SECRET_...")
        return entries

    @field_validator("allowed_tables")
    @classmethod
    def _are_full_names(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            if not re.fullmatch(r"[^.`\s]+(\.[^.`\s]+){2}", pattern):
                raise ValueError(
                    f"{pattern!r} is no full name of tables: catalog.schema.table, with * in it if need be"
                )
        return patterns

    @model_validator(mode="after")
    def _beats_often_enough(self) -> Settings:
        if self.lease_beat_s > self.lease_s / 3:
            raise ValueError(
                f"BLADE_LEASE_BEAT_S={self.lease_beat_s:g} is more than a third of BLADE_LEASE_S={self.lease_s:g}: "
                f"one late sign of life would lose jobs; set it to {self.lease_s / 3:g} or less"
            )
        return self

    @model_validator(mode="after")
    def _lets_workers_run_jobs(self) -> Settings:
        if self.workers and not self.max_running_jobs:
            raise ValueError(
                f"BLADE_WORKERS={self.workers} starts processes that run jobs, and BLADE_MAX_RUNNING_JOBS=0 lets none "
                "run any; set one of them otherwise"
            )
        return self

    @property
    def warehouse_hosts(self) -> dict[str, frozenset[str]]:
        """Hosts that sources may name, and the references to credentials that are bound to each."""
        return _bound(self.allowed_warehouse_hosts)

    @property
    def catalog_hosts(self) -> dict[str, frozenset[str]]:
        """Hosts that destinations may name, and the references to tokens that are bound to each."""
        return _bound(self.allowed_catalog_hosts)

    @property
    def webhook_hosts(self) -> dict[str, frozenset[str]]:
        """Hosts that notifications may go to, and the references to secrets that are bound to each."""
        return {host.lower(): bound for host, bound in _bound(self.allowed_webhook_hosts).items()}

    @property
    def listens_for_http_on(self) -> int:
        """The port of REST and the job page; 0 takes a free one."""
        if self.http_port is not None:
            return self.http_port
        return 8080 if self.port else 0

    @property
    def listens_for_mtls_on(self) -> int:
        """The port of callers with certificates, if there are any; 0 takes a free one."""
        if self.mtls_port is not None:
            return self.mtls_port
        return 50052 if self.port else 0

    @property
    def listens_for_admin_on(self) -> int | None:
        """The port of probes and metrics; 0 takes a free one, None: there is none."""
        if self.admin_port is not None:
            return self.admin_port or None
        return 9464 if self.port else 0


def _bound(entries: tuple[str, ...]) -> dict[str, frozenset[str]]:
    hosts: dict[str, frozenset[str]] = {}
    for entry in entries:
        host, binds, references = entry.partition("=")
        bound = frozenset(references.split("|")) if binds else frozenset()
        hosts[host.strip()] = hosts.get(host.strip(), frozenset()) | bound
    return hosts


def variable(name: str) -> str:
    """The environment variable of a field of Settings."""
    return str(Settings.model_fields[name].validation_alias or f"BLADE_{name.upper()}")


def files_of_secrets() -> dict[str, str]:
    """Fields that are secrets, and the variables that name files with them: `BLADE_CATALOG_TOKEN_FILE`."""
    secrets = (name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation))
    return {name: f"{variable(name)}_FILE" for name in secrets}


class SecretFile(SecretStr):
    """A secret in a file: whoever asks for it gets what was read last. Raises ValueError if there is none in it."""

    def __init__(self, file: Path, variable: str) -> None:
        self._file = file
        self.variable = variable
        """Which names the file."""
        super().__init__(_secret_in(file, variable))

    def read_again(self) -> bool:
        """Whether it is another one now. Raises ValueError; then the one before holds."""
        before = self.get_secret_value()
        super().__init__(_secret_in(self._file, self.variable))
        return self.get_secret_value() != before


def _secret_in(file: Path, file_variable: str) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(_MAX_SECRET_BYTES + 1).strip()
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is no UTF-8 text"
        raise ValueError(f"{file_variable} is {str(file)!r}, which cannot be read: {why}") from exc
    if not text or len(text) > _MAX_SECRET_BYTES:
        raise ValueError(f"{file_variable} is {str(file)!r}, which is {'longer than 64 KiB' if text else 'empty'}")
    return text
