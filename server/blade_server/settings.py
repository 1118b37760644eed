"""Everything an operator can set, read once from the environment into one frozen object.

Names carry their units. Secrets are held as SecretStr, so that printing the settings shows none.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from blade_server.model.policy import MAX_LEASE_S

CommaSeparated = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Settings of `blade serve`; docs/settings.md lists them for operators.

    Raises pydantic.ValidationError naming the variable and the value at fault.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, env_prefix="BLADE_")

    # PostgreSQL; unset: the embedded one.
    database_url: SecretStr | None = Field(None, validation_alias="DATABASE_URL")
    data_dir: Path | None = Field(None, description="Folder of the embedded PostgreSQL.")
    database_pool_size: int = Field(16, ge=2, le=200)

    # Where it listens. Loopback unless told otherwise; port 0 takes a free one.
    host: str = "127.0.0.1"
    port: int = Field(50051, ge=0, le=65535)
    http_port: int | None = Field(None, ge=0, le=65535, description="Unset: 8080, or a free one if `port` is 0.")
    max_connections: int = Field(12_000, ge=16, description="Connections to the gRPC port at once.")
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None

    # Warehouse defaults: the variables of the Databricks ecosystem.
    databricks_server_hostname: str = Field("", validation_alias="DATABRICKS_SERVER_HOSTNAME")
    databricks_http_path: str = Field("", validation_alias="DATABRICKS_HTTP_PATH")
    databricks_token: SecretStr | None = Field(None, validation_alias="DATABRICKS_TOKEN")
    databricks_client_id: str = Field("", validation_alias="DATABRICKS_CLIENT_ID")
    databricks_client_secret: SecretStr | None = Field(None, validation_alias="DATABRICKS_CLIENT_SECRET")
    allowed_warehouse_hosts: CommaSeparated = ()
    secret_dir: Path | None = Field(None, description="Root of `file:` credential references; unset: none allowed.")
    warehouse_ca_file: Path | None = None
    warehouse_timeout_s: float = Field(60.0, gt=0, description="Longest wait for one answer of the warehouse.")
    query_timeout_s: float = Field(300.0, gt=0, description="Longest run of a direct query's statement.")
    max_direct_queries: int = Field(32, ge=1, description="Direct query streams at once; more are refused.")

    # Catalog.
    catalog_url: str = ""
    catalog_token: SecretStr | None = None
    catalog_ca_file: Path | None = None
    catalog_timeout_s: float = Field(30.0, gt=0)
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
    )

    # Jobs.
    workers: int = Field(0, ge=0, le=64, description="Job processes beside this one; 0: jobs run in this one.")
    max_running_jobs: int = Field(4, ge=0, description="Jobs a process runs at once; 0: it only serves calls.")
    max_open_jobs: int = Field(10_000, ge=1, description="Jobs that are not final, over all replicas.")
    max_watchers: int = Field(10_000, ge=1, description="WatchJob streams at once on this server.")
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

    @field_validator("allowed_warehouse_hosts", "classifications", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

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
    def listens_for_http_on(self) -> int:
        """The port of REST and the job page; 0 takes a free one."""
        if self.http_port is not None:
            return self.http_port
        return 8080 if self.port else 0

    @cached_property
    def known_classifications(self) -> frozenset[str]:
        """The classifications an item may have."""
        return frozenset(self.classifications)
