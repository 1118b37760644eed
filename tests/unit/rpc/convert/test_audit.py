"""Entries of the audit log as messages, and anchors that are none."""

from __future__ import annotations

import pytest

from blade.v1 import audit_service_pb2 as pb
from blade_server.errors import Invalid
from blade_server.model.audit import AuditEntry, Head
from blade_server.rpc.convert.audit import anchor_from, entry_message, filter_from


def test_an_anchor_is_a_number_with_a_hash_or_nothing():
    assert anchor_from(pb.VerifyAuditLogRequest()) is None
    request = pb.VerifyAuditLogRequest(anchor_number=7, anchor_hash="ab" * 32)
    assert anchor_from(request) == Head(number=7, hash=b"\xab" * 32)


@pytest.mark.parametrize(
    ("anchor", "words"),
    [
        ({"anchor_number": 1}, "anchor_hash: must be"),
        ({"anchor_hash": "ab" * 32}, "anchor_number: 0 is"),
        ({"anchor_number": -1, "anchor_hash": "ab" * 32}, "anchor_number: -1 is"),
        ({"anchor_number": 1, "anchor_hash": "x" * 64}, "anchor_hash: must be"),
        ({"anchor_number": 1, "anchor_hash": "ab" * 31}, "anchor_hash: must be"),
    ],
)
def test_one_that_is_none_is_refused(anchor, words):
    with pytest.raises(Invalid, match=words):
        anchor_from(pb.VerifyAuditLogRequest(**anchor))


def test_an_outcome_that_nobody_knows_is_refused():
    with pytest.raises(Invalid, match="outcomes: 9 is none of DONE, BEGUN"):
        filter_from(pb.ListAuditEntriesRequest(outcomes=[1, 9]))


def test_an_entry_that_was_spoilt_is_shown_as_far_as_it_can_be_read():
    entry = AuditEntry(number=3, hash=b"\xab" * 32, content='{"principal":"otto","time":"soon","outcome":"?"}')
    message = entry_message(entry)
    assert (message.number, message.principal, message.hash) == (3, "otto", "ab" * 32)
    assert not message.HasField("time")
    assert message.outcome == pb.AuditEntry.OUTCOME_UNSPECIFIED
