"""Page tokens: opaque, whole, and good for one list only."""

from __future__ import annotations

import base64

import pytest

from blade_server.core.paging import _digest, make_token, page_size, read_token
from blade_server.errors import Invalid


@pytest.mark.parametrize("after", ["", "a", "s" * 63, "ü€", 'quote"'])
def test_a_token_reads_as_what_it_was_made_of(after):
    assert read_token(make_token(after, scope="sources"), scope="sources") == after


def test_no_token_is_the_beginning():
    assert read_token("", scope="sources") == ""


@pytest.mark.parametrize(
    "token", ["x", "ÿ", "=" * 9, "A" * 1000, make_token("a", scope="jobs"), make_token("a", scope="sources")[:-1]]
)
def test_other_tokens_are_refused(token):
    with pytest.raises(Invalid, match="page_token"):
        read_token(token, scope="sources")


@pytest.mark.parametrize("payload", [b'["a\\u0000"]', b'["\\ud800"]', b"[]", b"{}", b"7", b"[" * 100_000])
def test_a_token_that_somebody_made_himself_names_nothing_that_a_database_cannot_read(payload):
    raw = _digest(payload, "sources") + payload
    with pytest.raises(Invalid, match="page_token"):
        read_token(base64.urlsafe_b64encode(raw).decode().rstrip("="), scope="sources")


def test_a_page_size_has_a_default_and_limits():
    assert page_size(None, default=100) == 100
    assert page_size(1000, default=100) == 1000
    for size in (0, -1, 1001):
        with pytest.raises(Invalid, match="page_size"):
            page_size(size, default=100)
