"""TLS on both ports: its versions, certificates that are renewed while the server runs, and callers with their own."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from tests.support.access import METADATA
from tests.support.certificates import Authority
from tests.support.servers import TIMEOUT_S, Served, run
from tests.support.waiting import wait_until

from blade.v1 import access_pb2, access_service_pb2_grpc
from blade.v1 import access_service_pb2 as pb

SPIFFE = x509.UniformResourceIdentifier("spiffe://example.org/loader")
DNS = x509.DNSName("loader.example.org")


class World:
    """A server with certificates of `authority`, which asks callers for those of `clients`."""

    def __init__(self, folder: Path, postgres_url: str) -> None:
        self.authority, self.clients = Authority(), Authority()
        self.cert, self.key, self.client_ca = (folder / name for name in ("cert.pem", "key.pem", "client-ca.pem"))
        self.authority.write(self.cert, self.key)
        self.client_ca.write_bytes(self.clients.pem)
        self.server = Served(
            "--json",
            DATABASE_URL=postgres_url,
            BLADE_TLS_CERT_FILE=str(self.cert),
            BLADE_TLS_KEY_FILE=str(self.key),
            BLADE_TLS_CLIENT_CA_FILE=str(self.client_ca),
            BLADE_ADMINS=f"subject:{SPIFFE.value}",
        )
        said = self.server.said()
        self.port, self.http_port, self.mtls_port = said["port"], said["http_port"], said["mtls_port"]

    def served(self, port: int, *, verified_by: bytes | None = None) -> bytes:
        """The certificate that a port shows to who trusts `verified_by`."""
        context = ssl.create_default_context(cadata=(verified_by or self.authority.pem).decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            found = connection.getpeercert(binary_form=True)
            assert found is not None
            return ssl.DER_cert_to_PEM_cert(found).encode()

    def who(
        self, port: int, own: tuple[bytes, bytes] | None = None, metadata: tuple[tuple[str, str], ...] = ()
    ) -> pb.WhoAmIResponse:
        """The answer to a new connection, made with that certificate and key."""
        certificate, key = own or (None, None)
        credentials = grpc.ssl_channel_credentials(self.authority.pem, key, certificate)
        with grpc.secure_channel(f"127.0.0.1:{port}", credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            access = access_service_pb2_grpc.AccessServiceStub(channel)
            return access.WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT_S, metadata=metadata)


def refusal(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    code: grpc.StatusCode = caught.value.code()
    return code


@pytest.fixture
def world(tmp_path: Path, postgres_url: str) -> Iterator[World]:
    world = World(tmp_path, postgres_url)
    yield world
    if world.server.process.poll() is None:
        world.server.process.kill()
    world.server.process.communicate()


def test_a_renewed_certificate_is_shown_on_every_port_and_a_bad_one_on_none(world: World) -> None:
    first = world.cert.read_bytes()
    world_ports = (world.port, world.http_port)
    assert [world.served(port) for port in world_ports] == [first, first]

    world.cert.write_text("nothing")
    assert [world.served(port) for port in world_ports] == [first, first]

    second = world.authority.write(world.cert, world.key)
    assert second != first
    assert [world.served(port) for port in world_ports] == [second, second]
    assert world.who(world.port, metadata=METADATA).principal == "admin"

    world.authority = Authority()  # another one signs from here on
    third = world.authority.write(world.cert, world.key)
    assert [world.served(port) for port in world_ports] == [third, third]
    assert "the one before is kept" in world.server.stop()[1]


def test_a_connection_that_stands_goes_on_with_the_certificate_it_was_made_with(world: World) -> None:
    credentials = grpc.ssl_channel_credentials(world.authority.pem)
    with grpc.secure_channel(f"127.0.0.1:{world.port}", credentials) as channel:
        access = access_service_pb2_grpc.AccessServiceStub(channel)
        for _ in range(2):
            answer = access.WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT_S, metadata=METADATA)
            assert answer.principal == "admin"
            Authority().write(world.cert, world.key)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_is_spoken_from_its_version_1_2_on(world: World) -> None:
    for version, spoken in (("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)):
        found = [_handshake(port, ssl.TLSVersion[version]) for port in (world.port, world.http_port, world.mtls_port)]
        assert found == [spoken, spoken, spoken and version == "TLSv1_3"], version


def _handshake(port: int, version: ssl.TLSVersion) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")  # so that it is the server that says no
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain) as connection,
        ):
            return connection.version() is not None
    except OSError:
        return False


def test_a_certificate_signs_in_whom_it_names(world: World) -> None:
    for names, principal, roles in (
        ([SPIFFE], SPIFFE, ["ADMIN"]),
        ([DNS], DNS, []),
        ([DNS, x509.DNSName("second.example.org"), SPIFFE], SPIFFE, ["ADMIN"]),
        ([x509.RFC822Name("a@example.org"), DNS], DNS, []),
    ):
        answer = world.who(world.mtls_port, world.clients.issue(*names))
        assert (answer.principal, answer.kind) == (principal.value, "mtls")
        assert [access_pb2.Role.Name(grant.role) for grant in answer.grants] == roles


def test_a_connection_is_good_to_the_end_of_its_certificate(world: World) -> None:
    certificate, key = world.clients.issue(SPIFFE, days=(-1, 6 / 86400))
    ends = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    credentials = grpc.ssl_channel_credentials(world.authority.pem, key, certificate)
    with grpc.secure_channel(f"127.0.0.1:{world.mtls_port}", credentials) as channel:
        access = access_service_pb2_grpc.AccessServiceStub(channel)
        answer = access.WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT_S)
        assert answer.expire_time.ToDatetime(tzinfo=UTC) == ends

        ended: list[grpc.RpcError] = []

        def is_over() -> bool:
            try:
                access.WhoAmI(pb.WhoAmIRequest(), timeout=TIMEOUT_S)
            except grpc.RpcError as exc:
                ended.append(exc)
            return bool(ended)

        wait_until(is_over)
        assert datetime.now(UTC) >= ends
        assert ended[0].code() is grpc.StatusCode.UNAUTHENTICATED
        assert "certificate is over" in (ended[0].details() or "")


def test_one_without_a_name_that_counts_signs_in_nobody(world: World) -> None:
    """A common name does not count, and no other names are looked for behind a bad one."""
    for names in ([], [x509.RFC822Name("a@example.org")], [x509.DNSName("x" * 201)], [x509.DNSName(""), DNS]):
        own = world.clients.issue(*names, common_name=SPIFFE.value)
        assert refusal(lambda own=own: world.who(world.mtls_port, own)) is grpc.StatusCode.UNAUTHENTICATED


def test_a_token_goes_before_a_certificate(world: World) -> None:
    own = world.clients.issue(SPIFFE)
    assert world.who(world.mtls_port, own, METADATA).principal == "admin"
    wrong = (("authorization", "Bearer nothing"),)
    assert refusal(lambda: world.who(world.mtls_port, own, wrong)) is grpc.StatusCode.UNAUTHENTICATED


def test_no_certificate_a_strangers_and_one_that_is_over_make_no_connection(world: World) -> None:
    for own in (
        None,
        Authority().issue(SPIFFE),
        world.authority.issue(SPIFFE),
        world.clients.issue(SPIFFE, days=(-2, -1)),
    ):
        assert refusal(lambda own=own: world.who(world.mtls_port, own, METADATA)) is grpc.StatusCode.UNAVAILABLE


def test_the_other_port_takes_tokens_and_looks_at_no_certificate(world: World) -> None:
    assert world.who(world.port, metadata=METADATA).principal == "admin"
    own = world.clients.issue(SPIFFE)
    assert refusal(lambda: world.who(world.port, own)) is grpc.StatusCode.UNAUTHENTICATED


def test_the_authority_of_clients_is_renewed_too(world: World) -> None:
    old, new = world.clients.issue(SPIFFE), Authority()
    assert world.who(world.mtls_port, old).kind == "mtls"
    world.client_ca.write_bytes(new.pem)
    assert world.who(world.mtls_port, new.issue(SPIFFE)).kind == "mtls"
    assert refusal(lambda: world.who(world.mtls_port, old)) is grpc.StatusCode.UNAVAILABLE


def test_certificates_of_clients_need_one_of_the_server(postgres_url: str, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Authority().pem)
    status, sentence = run("serve", DATABASE_URL=postgres_url, BLADE_TLS_CLIENT_CA_FILE=str(ca))
    assert status == 1
    assert "BLADE_TLS_CLIENT_CA_FILE needs BLADE_TLS_CERT_FILE" in sentence
