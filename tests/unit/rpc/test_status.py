"""The table of errors is complete, and what it makes fits into a trailer."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.rpc import status_pb2

from blade_server import errors
from blade_server.rpc.status import Failure, code_of


def all_errors(kind: type[errors.BladeError] = errors.BladeError) -> Iterator[type[errors.BladeError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
        yield from all_errors(child)


@pytest.mark.parametrize("kind", sorted(set(all_errors()) - {errors.LeaseLost}, key=lambda kind: kind.__name__))
def test_every_error_of_the_tree_has_a_status(kind: type[errors.BladeError]) -> None:
    assert code_of(kind.__new__(kind)) is not None


def test_what_must_not_leave_the_engine_is_a_bug() -> None:
    assert code_of(errors.LeaseLost("x")) is None
    assert Failure(errors.LeaseLost("x")).code is grpc.StatusCode.INTERNAL
    assert Failure(RuntimeError("x")).incident != Failure(RuntimeError("x")).incident


@pytest.mark.parametrize("letter", ["x", "ж", "🚀", "\udcff"])
def test_an_error_of_any_length_in_any_script_fits_into_the_trailers(letter: str) -> None:
    violations = [errors.Violation(field=letter * 500, description=letter * 5000) for _ in range(100)]
    for error in (
        errors.Invalid(violations),
        errors.Precondition(letter * 10_000, metadata={"job_id": letter * 10_000}),
        errors.QuotaExceeded(letter * 10_000, subject="s"),
    ):
        failure = Failure(error)

        assert len(failure.message.encode()) <= 1000
        assert len(failure.details) < 4000
        status = status_pb2.Status.FromString(failure.details)
        assert len(status.details) >= 2
