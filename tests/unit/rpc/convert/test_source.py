"""Sources come back as they went."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from tests.support.nouns import FULL_SOURCE as SOURCE

from blade.v1 import source_pb2
from blade_server import model
from blade_server.rpc.convert.source import set_fields, source_from, source_message

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def test_a_source_comes_back_as_it_went() -> None:
    assert source_from(source_message(SOURCE)) == SOURCE


def test_a_source_carries_what_only_the_server_knows() -> None:
    stats = model.SourceStats(item_count=2**40, last_job_id="job-1", last_success_time=NOW)

    sent = source_message(dataclasses.replace(SOURCE, stats=stats, create_time=NOW, update_time=NOW))

    assert sent.stats.item_count == 2**40
    assert sent.stats.last_success_time.ToDatetime(tzinfo=UTC) == NOW
    assert sent.create_time.ToJsonString() == "2026-01-02T03:04:05.678Z"


def test_a_source_is_enabled_unless_it_says_no() -> None:
    assert source_from(source_pb2.Source()).enabled
    assert not source_from(source_pb2.Source(enabled=False)).enabled


def test_the_fields_of_an_update_without_a_mask_are_those_that_are_set() -> None:
    sent = source_pb2.Source(name="parts", etag="e", enabled=False, display_name="P")
    sent.config.table = "t"
    sent.mapping.classification.value = "UNCLASS"
    sent.stats.item_count = 3

    assert set_fields(sent) == {"enabled", "display_name", "config.table", "mapping.classification"}
    assert set_fields(source_pb2.Source(name="parts")) == set()
