from __future__ import annotations

from ipaddress import ip_network

import pytest
from starlette.datastructures import Headers

from blade_server.model.policy import ListenPolicy, WebPolicy
from blade_server.web.sender import Senders

TRUSTED = ("10.0.0.0/8", "fd00::/8")


def sender(client="10.0.0.1", *, scheme="http", sign_in=True, trusted=TRUSTED, headers=()):
    policy = WebPolicy(listen=ListenPolicy(), trusted_proxies=tuple(map(ip_network, trusted)))
    scope = {"type": "http", "scheme": scheme, "client": (client, 4711)}
    return Senders(policy, sign_in=sign_in).of(scope, Headers(raw=[(name, value) for name, value in headers]))


def forwarded(*values):
    return [(b"x-forwarded-for", value.encode()) for value in values]


@pytest.mark.parametrize(
    ("client", "values", "address"),
    [
        ("203.0.113.9", ["192.0.2.1"], "203.0.113.9"),  # a stranger may write what he likes
        ("10.0.0.1", ["192.0.2.1"], "192.0.2.1"),
        ("10.0.0.1", ["6.6.6.6, 192.0.2.1"], "192.0.2.1"),  # what stands before it he has written himself
        ("10.0.0.1", ["6.6.6.6", "192.0.2.1, 10.9.9.9"], "192.0.2.1"),
        ("10.0.0.1", ["6.6.6.6, rubbish"], "10.0.0.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("fd00::1", ["10.0.0.2,10.0.0.3"], "10.0.0.2"),
    ],
)
def test_the_address_is_that_of_the_nearest_stranger(client, values, address):
    assert sender(client, headers=forwarded(*values)).address == address


def test_without_a_trusted_proxy_nobody_is_believed():
    found = sender("127.0.0.1", trusted=(), headers=forwarded("192.0.2.1"))
    assert (found.address, found.peer) == ("127.0.0.1", "127.0.0.1:4711")


def test_the_peer_has_a_port_where_it_is_known():
    assert sender("203.0.113.9").peer == "203.0.113.9:4711"
    assert sender("2001:db8::1").peer == "[2001:db8::1]:4711"
    assert sender("10.0.0.1", headers=forwarded("192.0.2.1")).peer == "192.0.2.1"


@pytest.mark.parametrize(
    ("client", "scheme", "said", "secure"),
    [
        ("203.0.113.9", "https", None, True),
        ("203.0.113.9", "http", "https", False),
        ("10.0.0.1", "http", "https", True),
        ("10.0.0.1", "http", "https, http", False),
        ("10.0.0.1", "http", "http", False),
        ("10.0.0.1", "http", None, False),
    ],
)
def test_tls_is_ours_or_that_of_a_trusted_proxy(client, scheme, said, secure):
    headers = [(b"x-forwarded-proto", said.encode())] if said else []
    assert sender(client, scheme=scheme, headers=headers).secure is secure


def test_over_tls_only_the_cookie_counts_that_no_page_without_it_can_set():
    cookies = [(b"cookie", b"a=b; blade_session=plain; __Host-blade_session=secure")]
    assert sender(headers=cookies).session == "plain"
    assert sender(scheme="https", headers=cookies).session == "secure"
    assert sender(scheme="https", headers=[(b"cookie", b"blade_session=plain")]).session == ""


def test_a_cookie_means_nothing_where_nobody_signs_in():
    assert sender(sign_in=False, headers=[(b"cookie", b"blade_session=another-servers")]).session == ""


@pytest.mark.parametrize("value", ["x" * 101, "ä"])
def test_what_cannot_be_an_id_is_none(value):
    assert sender(headers=[(b"cookie", f"blade_session={value}".encode())]).session == ""


def test_the_id_is_in_no_representation():
    assert "secret" not in repr(sender(headers=[(b"cookie", b"blade_session=secret")]))


def test_a_network_of_ipv6_counts_as_one():
    one, other = (sender("2001:db8:1:2:3::1").neighbourhood, sender("2001:db8:1:2:ffff::9").neighbourhood)
    assert one == other == "2001:db8:1:2::/64"
    assert sender("203.0.113.9").neighbourhood == "203.0.113.9"
