"""What GetJob shows as a job's limits can be sent as a new job's."""

from __future__ import annotations

import pytest

from blade.v1.job_service_pb2 import StartQueryJobRequest
from blade_server.errors import Invalid
from blade_server.rpc.convert.job import start_limits_from

NONE = {"items_per_second": None, "max_errors": None, "max_error_share": None}


@pytest.mark.parametrize(
    ("request_", "limits"),
    [
        ({}, {}),
        ({"limits": {}}, {}),
        ({"items_per_second": 1, "max_errors": 0}, {"items_per_second": 1, "max_errors": 0}),
        ({"limits": {"items_per_second": 1, "max_errors": 0}}, {"items_per_second": 1, "max_errors": 0}),
        ({"limits": {"max_error_share": 0.5}, "max_errors": 3}, {"max_error_share": 0.5, "max_errors": 3}),
        ({"limits": {"max_errors": 3}, "max_errors": 3}, {"max_errors": 3}),
    ],
)
def test_limits_are_read_in_both_forms(request_, limits):
    assert start_limits_from(StartQueryJobRequest(**request_)) == NONE | limits


def test_two_values_for_one_limit_are_refused():
    with pytest.raises(Invalid, match=r"limits.items_per_second: is 2, and `items_per_second` is 1; send one of them"):
        start_limits_from(StartQueryJobRequest(limits={"items_per_second": 2}, items_per_second=1))
