"""What can be told without asking anybody: settings, certificates, disk, versions."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from blade_server.app.doctor.check import Check, failed, passed, warned
from blade_server.app.exposure import check_exposure
from blade_server.app.misspelt import misspelt
from blade_server.app.named_files import check_named
from blade_server.app.policies import access_policy, unbound_hosts, web_policy
from blade_server.app.state import seen_folder, tokens_folder
from blade_server.settings import Settings
from blade_server.tls import CertificateError, Certificates, end_of

_PACKAGES = ("blade", "grpcio", "databricks-sql-connector", "sqlalchemy", "pyarrow")
_SOON_DAYS = 14
_LEAST_BYTES = 200 << 20
_FEW_BYTES = 2 << 30


def of_settings(settings: Settings, environment: Mapping[str, str]) -> Iterator[Check]:
    """What is set, beyond what each value must be, and the files that it names."""
    try:
        check_exposure(settings)
        access_policy(settings)
        web_policy(settings)
        check_named(settings)
    except (ValueError, OSError) as exc:
        yield failed("settings", str(exc), "change that setting, and ask again")
    else:
        yield passed("settings", f"{len(settings.model_fields_set)} are set, and all can be right")
    for sentence in misspelt(environment):
        yield warned("settings", sentence, "unset it, or write it as docs/settings.md has it")
    for sentence in unbound_hosts(settings):
        yield warned("settings", sentence, "bind the credentials to the host")


def of_certificate(settings: Settings) -> Iterator[Check]:
    """The certificate of the ports, if they have one."""
    cert_file, key_file = settings.tls_cert_file, settings.tls_key_file
    if cert_file is None or key_file is None:
        return
    renew = "renew the files of BLADE_TLS_CERT_FILE and BLADE_TLS_KEY_FILE; the server reads them by itself"
    try:
        ends = end_of(Certificates(cert_file, key_file, settings.tls_client_ca_file).current().chain)
    except CertificateError as exc:
        yield failed("certificate", str(exc), renew)
        return
    if ends is None:
        yield failed("certificate", f"{cert_file} holds no certificate that can be read", renew)
        return
    days = (ends - datetime.now(UTC)).days
    says = f"{cert_file} is good until {ends:%Y-%m-%d}"
    if days < 0:
        yield failed("certificate", says, renew)
    elif days < _SOON_DAYS:
        yield warned("certificate", says, renew)
    else:
        yield passed("certificate", says)


def of_disk(settings: Settings) -> Iterator[Check]:
    """The folders in which a server keeps something of its own."""
    data_dir = tokens_folder(settings).parent
    for name, folder in (("disk", data_dir), ("disk.seen", seen_folder(settings))):
        yield _folder(name, folder, holds_database=name == "disk" and settings.database_url is None)


def _folder(name: str, folder: Path, *, holds_database: bool) -> Check:
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        return failed(name, f"{folder} cannot be made: {there} is no folder", "set BLADE_DATA_DIR to a folder")
    if not os.access(there, os.W_OK):
        return failed(
            name, f"{folder} cannot be written by this user", "give it to the server's user, or set BLADE_DATA_DIR"
        )
    free = shutil.disk_usage(there).free
    says = f"{folder} has {free / 1e9:,.1f} GB free"
    make_room = "make room there, or set BLADE_DATA_DIR to another disk while no server runs"
    if free < _LEAST_BYTES:
        return failed(name, says, make_room)
    if holds_database and free < _FEW_BYTES:
        return warned(name, f"{says}, and PostgreSQL's data is there", make_room)
    return passed(name, says)


def of_versions() -> Iterator[Check]:
    """Of the programs that this command runs on."""
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    yield passed("versions", f"{versions}, python {platform.python_version()}, {platform.platform()}")
