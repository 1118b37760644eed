"""Signing in by an identity provider, at a server with both its ports."""

from __future__ import annotations

import time
from collections.abc import Iterator

import grpc
import pytest
import requests
import sqlalchemy
from tests.support.oidc import AUDIENCE, FakeProvider, new_key
from tests.support.servers import TIMEOUT_S, Served, run

from blade.v1 import access_pb2, access_service_pb2_grpc
from blade.v1 import access_service_pb2 as pb


class World:
    """A server, the provider that it knows, and calls to it."""

    def __init__(self, fake: FakeProvider, server: Served, postgres_url: str) -> None:
        self.fake, self.server, self.postgres_url = fake, server, postgres_url
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.said()['port']}")
        self.access = access_service_pb2_grpc.AccessServiceStub(self.channel)
        self.url = f"http://127.0.0.1:{server.said()['http_port']}"

    def who(self, token: str) -> pb.WhoAmIResponse:
        return self.access.WhoAmI(
            pb.WhoAmIRequest(), metadata=[("authorization", f"Bearer {token}")], timeout=TIMEOUT_S
        )

    def grant(self, role: str, **to: str) -> None:
        engine = sqlalchemy.create_engine(self.postgres_url, poolclass=sqlalchemy.NullPool)
        row = {"id": f"{role}-{to}", "principal": "", "group_name": "", "role": role} | to
        query = (
            "INSERT INTO access_grant (grant_id, principal, group_name, role, scope, created_by, create_time) "
            "VALUES (:id, :principal, :group_name, :role, '*', '', now())"
        )
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(query), row)
        engine.dispose()


@pytest.fixture
def world(postgres_url: str) -> Iterator[World]:
    settings = {
        "BLADE_OIDC_AUDIENCE": AUDIENCE,
        "BLADE_ADMINS": "group:chiefs,subject:boss",
        "DATABASE_URL": postgres_url,
    }
    with FakeProvider().running() as fake:
        server = Served("--json", BLADE_OIDC_ISSUER=fake.issuer, **settings)
        try:
            world = World(fake, server, postgres_url)
            with world.channel:
                yield world
        finally:
            server.process.kill()
            server.process.communicate()


def roles(answer: pb.WhoAmIResponse) -> list[str]:
    return sorted(access_pb2.Role.Name(grant.role) for grant in answer.grants)


def test_whom_the_provider_names_has_his_grants_and_those_of_his_groups(world: World) -> None:
    world.grant("VIEWER", principal="ann")
    world.grant("OPERATOR", group_name="crew")
    world.grant("EDITOR", principal="crew")  # a group's name is no principal's
    token = world.fake.token(groups=["crew", "others"])

    answer = world.who(token)
    by_rest = requests.get(
        f"{world.url}/access/whoami", headers={"Authorization": f"bearer {token}"}, timeout=60
    ).json()

    assert (answer.principal, answer.kind, list(answer.groups)) == ("ann", "jwt", ["crew", "others"])
    assert 0 < answer.expire_time.seconds - time.time() <= 300
    assert roles(answer) == ["OPERATOR", "VIEWER"]
    assert by_rest["principal"] == "ann"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"sub": "boss"}, ["ADMIN"]),
        ({"groups": ["chiefs"]}, ["ADMIN"]),
        ({"sub": "chiefs"}, []),
        ({"groups": ["boss"]}, []),
        ({"sub": "subject:boss"}, []),
        ({"sub": "admin"}, []),  # the name of the operator's token is no right
    ],
)
def test_the_operator_names_admins_by_subject_and_group(
    world: World, claims: dict[str, object], expected: list[str]
) -> None:
    assert roles(world.who(world.fake.token(**claims))) == expected


def test_what_is_no_good_is_unauthenticated_on_both_ports(world: World) -> None:
    for token in (world.fake.token(exp=time.time() - 100), world.fake.token(headers={"kid": "x"}), "a.b.c", "a.b"):
        with pytest.raises(grpc.RpcError) as caught:
            world.who(token)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        headers = {"Authorization": f"Bearer {token}"}
        assert requests.get(f"{world.url}/access/whoami", headers=headers, timeout=60).status_code == 401


def test_a_header_of_a_megabyte_is_refused_and_the_server_goes_on(world: World) -> None:
    huge = f"{'x' * (1 << 20)}.a.b"
    with pytest.raises(grpc.RpcError) as caught:
        world.who(huge)
    assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
    try:
        headers = {"Authorization": f"Bearer {huge}"}
        assert requests.get(f"{world.url}/access/whoami", headers=headers, timeout=60).status_code in (400, 431)
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
        pass  # it hangs up before all is sent
    assert world.who(world.fake.token()).principal == "ann"


def test_a_provider_that_hangs_holds_up_nobody_else(world: World) -> None:
    token = world.fake.token()
    assert world.who(token).principal == "ann"
    world.fake.says = "hangs"
    world.fake.keys["second"] = ("ES256", new_key("ES256"))
    strangers = [
        world.access.WhoAmI.future(
            pb.WhoAmIRequest(),
            metadata=[("authorization", f"Bearer {world.fake.token(headers={'kid': f'x{number}'})}")],
            timeout=TIMEOUT_S,
        )
        for number in range(100)
    ]
    began_s = time.monotonic()
    assert world.who(world.fake.token(jti="another")).principal == "ann"
    assert time.monotonic() - began_s < 2.0
    assert {stranger.exception().code() for stranger in strangers} == {grpc.StatusCode.UNAUTHENTICATED}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"BLADE_OIDC_ISSUER": "https://x.example"}, "BLADE_OIDC_ISSUER and BLADE_OIDC_AUDIENCE belong together"),
        ({"BLADE_OIDC_AUDIENCE": "blade"}, "BLADE_OIDC_ISSUER and BLADE_OIDC_AUDIENCE belong together"),
        ({"BLADE_OIDC_ISSUER": "http://x.example", "BLADE_OIDC_AUDIENCE": "b"}, "it must begin with https://"),
        ({"BLADE_OIDC_ISSUER": "x.example", "BLADE_OIDC_AUDIENCE": "b"}, "it must begin with http"),
        ({"BLADE_OIDC_ISSUER": "https://u:s3cret@x.example", "BLADE_OIDC_AUDIENCE": "b"}, "it has a user"),
    ],
)
def test_settings_that_cannot_be_right_are_one_sentence(postgres_url: str, settings: dict[str, str], says: str) -> None:
    status, sentence = run("serve", DATABASE_URL=postgres_url, **settings)
    assert status == 2
    assert says in sentence
