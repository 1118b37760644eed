"""Each row of the table from the catalog's answers to BLADE's errors."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import orjson
import pytest

from blade_server.catalog.answers import AnswerParser
from blade_server.catalog.failures import Answer, own_words, refusal
from blade_server.errors import CatalogDenied, CatalogRejected, CatalogUnavailable

URL = "http://catalog.test:8090"


def error(status: int, body: bytes = b"", *, stores: bool = True, **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal(Answer(status, named, body), catalog=URL, stores=stores)


@pytest.mark.parametrize(
    ("status", "kind", "maybe_stored"),
    [
        (400, CatalogRejected, None),
        (404, CatalogRejected, None),
        (405, CatalogRejected, None),
        (409, CatalogRejected, None),
        (413, CatalogRejected, None),
        (415, CatalogRejected, None),
        (422, CatalogRejected, None),
        (499, CatalogRejected, None),
        (401, CatalogDenied, None),
        (403, CatalogDenied, None),
        (408, CatalogUnavailable, False),
        (425, CatalogUnavailable, False),
        (429, CatalogUnavailable, False),
        (503, CatalogUnavailable, False),
        (301, CatalogUnavailable, False),
        (307, CatalogUnavailable, False),
        (500, CatalogUnavailable, True),
        (502, CatalogUnavailable, True),
        (504, CatalogUnavailable, True),
        (599, CatalogUnavailable, True),
        (202, CatalogUnavailable, True),
        (204, CatalogUnavailable, True),
    ],
)
def test_each_status_has_its_error(status, kind, maybe_stored):
    raised = error(status)
    assert type(raised) is kind
    assert getattr(raised, "maybe_stored", None) is maybe_stored
    assert URL in raised.message


@pytest.mark.parametrize("status", range(400, 600))
def test_one_item_of_a_batch_may_be_tried_again_where_a_whole_request_may(status):
    results = [{"itemId": "a", "status": status}, {"itemId": "b", "status": 201}]
    batch = AnswerParser(catalog=URL).batch(Answer(200, {}, orjson.dumps({"results": results})), ["a", "b"])
    assert batch.refused[0].retry is isinstance(error(status), CatalogUnavailable)


def test_what_only_asks_never_leaves_anything_stored():
    assert not error(500, stores=False).maybe_stored


@pytest.mark.parametrize(
    ("status", "wait", "throttled", "wait_s"),
    [
        (429, None, True, None),
        (429, "3", True, 3.0),
        (503, "2.5", True, 2.5),
        (503, "-4", True, 0.0),
        (503, None, False, None),
        (503, "soon", False, None),
        (503, "nan", False, None),
        (429, "inf", True, None),
        (500, "9", False, 9.0),
    ],
)
def test_retry_after_in_seconds_says_how_long_to_wait(status, wait, throttled, wait_s):
    raised = error(status, **({} if wait is None else {"retry_after": wait}))
    assert (raised.throttled, raised.retry_after_s) == (throttled, wait_s)


def test_retry_after_as_a_date_says_how_long_to_wait():
    until = datetime.now(UTC) + timedelta(seconds=60)
    assert 57 < error(503, retry_after=format_datetime(until, usegmt=True)).retry_after_s <= 60
    assert error(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT").retry_after_s == 0.0


TWENTY = "9" * 20
NONSENSE = [
    "",
    " ",
    "soon",
    "3, 3",
    "3;4",
    "0x10",
    "1 2",
    "--1",
    "3s",
    "PT3S",
    "P1D",
    "null",
    "nan",
    "-nan",
    "inf",
    "-inf",
    "Infinity",
    "1e999",
    "9" * 5000,
    "\0",
    "\xb2",
    ",",
    ":::",
    "Fri,",
    "GMT",
    "2015-10-21",
    "2015-13-45T99:99:99Z",
    "Wed, 21 Oct 2015",
    "Wed, 99 Oct 2015 07:28:00 GMT",
    "Wed, 00 Oct 2015 07:28:00 GMT",
    "Wed, 21 Foo 2015 07:28:00 GMT",
    "Wed, 21 Oct 2015 25:28:00 GMT",
    "Wed, 21 Oct 2015 07:61:00 GMT",
    "Wed, 21 Oct 2015 07:28:99 GMT",
    "Wed, 21 Oct -2015 07:28:00 GMT",
    f"Fri, 31 Dec {TWENTY} 23:59:59 GMT",
    f"Fri, {TWENTY} Dec 2030 23:59:59 GMT",
    f"Fri, 31 Dec 2030 {TWENTY}:59:59 GMT",
    f"Fri, 31 Dec 2030 23:{TWENTY}:59 GMT",
    f"Fri, 31 Dec 2030 23:59:{TWENTY} GMT",
    "Fri, 31 Dec 2030 23:59:59 +99999999999999",
    f"Fri, 31 Dec 2030 23:59:59 -{TWENTY}{TWENTY}",
    f"Fri, 31 Dec {'9' * 5000} 23:59:59 GMT",
]


@pytest.mark.parametrize("value", NONSENSE, ids=range(len(NONSENSE)))
@pytest.mark.parametrize("status", [429, 503, 500, 302])
def test_a_retry_after_that_is_nonsense_is_as_none(status, value):
    raised = error(status, retry_after=value)
    assert isinstance(raised, CatalogUnavailable)
    assert (raised.retry_after_s, raised.throttled) == (None, status == 429)


@pytest.mark.parametrize(
    "value", ["0", "-0", "1e-300", "1e300", "86400", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 +2359"]
)
def test_a_retry_after_is_from_none_to_five_minutes(value):
    wait_s = error(429, retry_after=value).retry_after_s
    assert wait_s is not None
    assert 0 <= wait_s <= 300


def test_the_catalogs_own_words_are_passed_on():
    assert "rejected it (422): no such unit" in error(422, b'{"error": "no such unit"}').message
    assert "plain text" in error(400, b"plain text").message
    assert error(400, b"").message.endswith("rejected it (400)")


def test_a_redirect_names_its_aim_and_the_setting():
    message = error(308, location="https://elsewhere/x").message
    assert "https://elsewhere/x" in message
    assert "BLADE_CATALOG_URL" in message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "x\\r\\n\\u0000  y\\t z"}', "x y z"),
        (b'{"error": 7}', '{"error": 7}'),
        (b"[1]", "[1]"),
        (b"\xff\xfe", "�" * 2),
        (b"", ""),
    ],
)
def test_words_are_one_printable_line(body, words):
    assert own_words(body) == words


def test_words_are_cut_off():
    assert len(own_words(b"x" * 10_000_000)) == 500
    assert own_words(b"x" * 501).endswith("…")
    assert own_words(b"x" * 500) == "x" * 500
