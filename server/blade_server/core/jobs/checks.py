"""What a request about jobs may say. The checks yield what is wrong, as (field, description)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from blade_server.core.checks import check_length
from blade_server.core.sources.rules import check_column, check_item_id
from blade_server.errors import Invalid, NotFound, Reason, check_may
from blade_server.model import Job, Overrides
from blade_server.model.access import Caller, Role

MAX_BATCH_SIZE = 1000
MAX_WORKERS = 64
MAX_REQUEST_ID_CHARACTERS = 128


def given(job_id: str, name: str = "job_id") -> str:
    """The id. Raises Invalid if there is none."""
    if not job_id:
        raise Invalid.field(name, "is required")
    return job_id


def seen(job: Job, by: Caller) -> Job:
    """The job. Raises NotFound, in the words of an unknown one, if the caller may not know of it."""
    if not by.may(job.spec.source, job.spec.data_type, Role.VIEWER):
        raise NotFound(f"there is no job {job.job_id!r}", reason=Reason.JOB_NOT_FOUND)
    return job


def allowed(job: Job, by: Caller) -> Job:
    """The job. Raises NotFound as `seen`, and AccessDenied if he may not do this with it."""
    seen(job, by)
    check_may(by, job.spec.source, job.spec.data_type, f"job {job.job_id!r}")
    return job


def check_limits(
    rate: float | None, max_errors: int | None, share: float | None, prefix: str = ""
) -> Iterator[tuple[str, str]]:
    """The limits of a job."""
    if rate is not None and not (math.isfinite(rate) and rate > 0):
        yield f"{prefix}items_per_second", f"{rate:g} is not a number above 0"
    if max_errors is not None and max_errors < 0:
        yield f"{prefix}max_errors", f"{max_errors} is below 0"
    if share is not None and not 0 < share <= 1:
        yield f"{prefix}max_error_share", f"{share:g} is not a share above 0 and up to 1"


def check_range(name: str, value: int | None, least: int, most: int) -> Iterator[tuple[str, str]]:
    """A number from `least` to `most`, or none."""
    if value is not None and not least <= value <= most:
        yield name, f"{value} is not between {least} and {most}"


def check_request_id(request_id: str) -> Iterator[tuple[str, str]]:
    """What makes a repeated call the same call."""
    return check_length("request_id", request_id, MAX_REQUEST_ID_CHARACTERS)


def check_overrides(given: Overrides, known_classifications: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What stands in the place of a source's mapping, as far as it can be told without the result."""
    if given.item_id:
        yield from check_item_id("item_id", given.item_id)
    yield from check_column("last_modified", given.last_modified)
    value = given.classification
    if value and value not in known_classifications:
        yield (
            "classification",
            f"{value[:80]!r} is not one of the known ones: {', '.join(known_classifications)}",
        )
