"""What can never work is told at once, with the value and without its secrets."""

from __future__ import annotations

import re
import socket
import threading

import pytest

from blade_server.addresses import checked_proxy, checked_url, is_loopback, proxy_for, speaks_otherwise


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:99999",
        "http://127.0.0.1:0",
        "http://127.0.0.1:x",
        "http://a..b",
        "http://.a",
        "http://a_b.c d",
        f"http://{'a' * 64}.b",
        "http://300.1.2.3",
        "http://[::1",
        "http://[zz]",
        "http://127.0.0.1: 80",
        "http://x\n",
        " http://x",
        "http://a\tb",
        "http://a<b>",
        "http://",
        "ftp://x",
        "x:80",
        "socks5://x:1080",
        "http://a:1,b:2",
    ],
)
def test_a_url_that_can_never_work_is_refused_with_the_value(url):
    with pytest.raises(ValueError, match=r"^NAME is ") as caught:
        checked_url("NAME", url)
    assert repr(url) in str(caught.value)


@pytest.mark.parametrize("url", ["postgresql://u:s3cret@a..b/x", "postgresql://u:s3/cr@et@h:x/d", "http://u:s3cret@h"])
def test_no_text_holds_a_password(url):
    with pytest.raises(ValueError, match=r"\*\*\*@") as caught:
        checked_url("NAME", url, ["postgresql"], database=True)
    assert not re.search("s3|et@", str(caught.value))


@pytest.mark.parametrize(
    "url", ["http://u:s3/cr@et@h", "http://u:pa#s3@h:80", "http://u:?s3@h", "http://h:99999/x?user=u&password=s3"]
)
def test_no_text_holds_what_may_be_a_part_of_a_password(url):
    with pytest.raises(ValueError, match=r"^NAME is ") as caught:
        checked_url("NAME", url)
    assert not re.search("s3|pa#|cr@", str(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost", "https://a.b.c:8443/base", "http://[::1]:80", "http://127.1", "http://1.2.3.4:65535"),
        *("http://my_host", "http://bücher.example", "http://a.b.", "http://x/a%20b?c=d e"),
    ],
)
def test_a_url_that_may_work_is_taken(url):
    assert checked_url("NAME", url).scheme in ("http", "https")


def test_a_database_may_be_on_this_machine_and_its_password_hold_anything():
    for url in ("postgresql:///blade?host=/run/postgresql", "postgresql://u:a b,/c@h/d"):
        assert checked_url("NAME", url, ["postgresql"], database=True)


def test_a_proxy_that_nobody_knows_is_named_with_its_variable(monkeypatch):
    monkeypatch.setenv("https_proxy", "socks5://user:s3cret@proxy:1080")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(ValueError, match=r"^https_proxy is 'socks5://\*\*\*@proxy:1080'"):
        proxy_for("https", "workspace.test")
    assert proxy_for("ftp", "workspace.test") is None
    monkeypatch.setenv("no_proxy", "workspace.test")
    assert proxy_for("https", "workspace.test") is None


def test_a_proxy_without_a_scheme_speaks_http():
    assert checked_proxy("proxy:3128").hostname == "proxy"


def test_nobody_there_is_no_wrong_scheme():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert speaks_otherwise(f"http://127.0.0.1:{port}") == speaks_otherwise(f"https://127.0.0.1:{port}") == ""


HTTP = b"HTTP/1.1 400 Bad Request\r\n\r\n"


def answer_twice(listener: socket.socket, http: bytes, tls: bytes | None = None) -> None:
    """Answers what begins as TLS does with `tls`, by default as anything else."""
    for _ in range(2):
        connection, _ = listener.accept()
        with connection:
            hello = connection.recv(1000)
            connection.sendall(tls if tls is not None and hello[0] == 0x16 else http)


def test_a_plain_server_is_known_by_its_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_twice, args=(listener, HTTP))
        thread.start()
        assert "http://" in speaks_otherwise(f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join()


def test_a_server_with_tls_that_answers_plain_http_too_is_none_without():
    alert = bytes([0x15, 3, 3, 0, 2, 2, 40])  # handshake_failure
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_twice, args=(listener, HTTP, alert))
        thread.start()
        port = listener.getsockname()[1]
        assert speaks_otherwise(f"https://127.0.0.1:{port}") == ""
        assert "https://" in speaks_otherwise(f"http://127.0.0.1:{port}")
        thread.join()


@pytest.mark.parametrize("name", ["localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_names_that_can_only_mean_this_machine(name):
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name", ["", "0.0.0.0", "::", "localhost.example", "xlocalhost", "10.0.0.1", "127.0.0.1.example", "0177.0.0.1"]
)
def test_names_that_can_mean_another(name):
    assert not is_loopback(name)
