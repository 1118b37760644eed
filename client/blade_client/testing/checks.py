"""What a request about jobs may say, as the service checks it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from string import Formatter
from typing import Any

from blade.v1.job_pb2 import Job
from blade.v1.job_service_pb2 import StartQueryJobRequest
from blade_client import errors
from blade_client.testing.statuses import invalid

_MAX_REASON_CHARACTERS = 1000


def check_start(request: StartQueryJobRequest) -> None:
    """Raises Invalid naming all wrong fields."""
    wrong = list(_limits(request, ""))
    for name, most in (("batch_size", 1000), ("workers", 64)):
        if request.HasField(name) and not 1 <= getattr(request, name) <= most:
            wrong.append((name, f"{getattr(request, name)} is not between 1 and {most}"))
    if request.HasField("items_per_second") and not request.items_per_second > 0:
        wrong.append(("items_per_second", f"{request.items_per_second:g} is not a number above 0"))
    raise_for([*wrong, *check_item_id(request.item_id)])


def check_item_id(template: str) -> Iterator[tuple[str, str]]:
    """What is wrong with a template of item ids; without braces it is the name of a column."""
    try:
        columns = [column for _, column, _, _ in Formatter().parse(template) if column]
    except ValueError as wrong:
        yield "item_id", f"{template!r} is no template: {wrong}"
        return
    if "{" in template and not columns:
        yield "item_id", f"{template!r} names no column"


def check_limits(limits: Any) -> None:
    """Raises Invalid naming all wrong fields."""
    raise_for(_limits(limits, "limits."))


def check_reason(reason: str) -> None:
    """Raises Invalid."""
    if len(reason) > _MAX_REASON_CHARACTERS:
        raise invalid("reason", f"has {len(reason)} characters; at most {_MAX_REASON_CHARACTERS} are allowed")


def raise_for(wrong: Iterable[tuple[str, str]]) -> None:
    """Raises Invalid for the fields, if there are any; each with what is wrong about it."""
    violations = [errors.Violation(field=name, description=text) for name, text in wrong]
    if violations:
        message = "; ".join(f"{each.field}: {each.description}" for each in violations)
        raise errors.Invalid(message, reason="INVALID_FIELD", violations=violations)


def wrong_status(job: Job, what: str) -> errors.Precondition:
    """The job's status does not allow it."""
    status = Job.Status.Name(job.status)
    return errors.Precondition(
        f"job {job.job_id!r} is {status} and cannot be {what}", reason="JOB_STATUS", metadata={"status": status}
    )


def _limits(limits: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if limits.HasField("max_errors") and limits.max_errors < 0:
        yield f"{prefix}max_errors", f"{limits.max_errors} is below 0"
    if limits.HasField("max_error_share") and not 0 < limits.max_error_share <= 1:
        yield f"{prefix}max_error_share", f"{limits.max_error_share:g} is not a share above 0 and up to 1"
