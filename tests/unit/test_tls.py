"""A certificate is read again when its files change, and the one before is kept while they cannot be used."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.certificates import LOOPBACK, Authority

from blade_server.tls import CertificateError, Certificates


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> tuple[Path, Path]:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.write(cert, key)
    return cert, key


def test_files_that_have_not_changed_are_not_read(files: tuple[Path, Path]) -> None:
    certificates = Certificates(*files)
    before = certificates.current()
    assert before.chain == files[0].read_bytes()
    assert certificates.current() is before
    assert before.context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_new_certificate_is_used(files: tuple[Path, Path], authority: Authority) -> None:
    certificates = Certificates(*files)
    new = authority.write(*files)
    assert certificates.current().chain == new


def test_a_swapped_link_is_a_change(tmp_path: Path, authority: Authority) -> None:
    """As Kubernetes renews what a secret holds."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        authority.write(tmp_path / name / "cert.pem", tmp_path / name / "key.pem")
    link = tmp_path / "current"
    link.symlink_to("one")
    certificates = Certificates(link / "cert.pem", link / "key.pem")
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(link)
    assert certificates.current().chain == (tmp_path / "two" / "cert.pem").read_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda cert, key, other: cert.write_text("nothing"),
        lambda cert, key, other: key.write_text(""),
        lambda cert, key, other: key.write_bytes(other),  # not yet the one that belongs to it
        lambda cert, key, other: cert.unlink(),
    ],
    ids=["no certificate", "no key", "another key", "gone"],
)
def test_what_cannot_be_used_is_logged_once_and_the_one_before_kept(
    files: tuple[Path, Path],
    authority: Authority,
    spoil: Callable[..., None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    certificates = Certificates(*files)
    before = certificates.current()
    spoil(*files, authority.issue(*LOOPBACK)[1])
    for _ in range(3):
        assert certificates.current() is before
    assert caplog.text.count("the one before is kept") == 1
    assert "PRIVATE KEY" not in caplog.text

    new = authority.write(*files)
    assert certificates.current().chain == new
    assert "is read again" in caplog.text


def test_files_that_change_while_they_are_read_are_read_again(
    files: tuple[Path, Path], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = Certificates(*files)
    before = certificates.current()
    load = certificates._load
    wrote = []

    def load_and_change() -> object:
        loaded = load()
        wrote.append(authority.write(*files))
        return loaded

    authority.write(*files)
    monkeypatch.setattr(certificates, "_load", load_and_change)
    assert certificates.current() is before
    monkeypatch.undo()
    assert certificates.current().chain == wrote[-1]


def test_the_authority_of_clients_is_one_of_the_files(
    files: tuple[Path, Path], authority: Authority, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("nothing")
    with pytest.raises(CertificateError, match=r"ca\.pem"):
        Certificates(*files, ca)
    ca.write_bytes(authority.pem)
    certificates = Certificates(*files, ca)
    ca.write_bytes(Authority().pem)
    os.utime(ca, ns=(1, 1))
    assert certificates.current().client_ca == ca.read_bytes()


def test_a_key_is_in_no_representation(files: tuple[Path, Path]) -> None:
    assert "PRIVATE KEY" not in repr(Certificates(*files).current())
