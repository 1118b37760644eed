"""Lists: pages of 100,000 jobs and of 1 M item errors, at their beginning and at their end."""

from __future__ import annotations

import time
from functools import partial

from figure import QUICK, Figure, in_turn
from signed_in import METADATA
from sqlalchemy import create_engine, text
from world import Server, world

from blade.v1.job_service_pb2 import ListItemErrorsRequest, ListJobsRequest
from blade_server.storage.tables import job

JOBS = 10_000 if QUICK else 100_000
ERRORS = 100_000 if QUICK else 1_000_000
ROUNDS = 5 if QUICK else 15
PAGE = 100

# Copies of a real job, all older than it, and errors of that job.
FILL = """
INSERT INTO job ({columns}) SELECT {columns} FROM (
    SELECT (jsonb_populate_record(
            job, jsonb_build_object('job_id', 'job-0' || lpad(n::text, 12, '0'), 'request_id', NULL))).*
        FROM job, generate_series(1, :jobs) AS n WHERE job_id = :job_id) AS copy;
INSERT INTO job_item_error (job_id, key, item_id, stage, reason, message, attempts, create_time)
    SELECT :job_id, '', 'item-' || n, 'UPLOAD', 'CATALOG_REJECTED', 'the catalog refused the item', 1, now()
    FROM generate_series(1, :errors) AS n;
ANALYZE
"""


class Pages:
    """One list: its first page, and the pages behind a place far down."""

    def __init__(self, stub: object, request: type, **of: str) -> None:
        self._call, self._request, self._of = stub, request, of
        self.token = ""

    def milliseconds(self, token: str) -> float:
        began = time.perf_counter()
        answer = self._call(self._request(page_size=PAGE, page_token=token, **self._of), metadata=METADATA)  # type: ignore[operator]
        self.token = answer.next_page_token
        return (time.perf_counter() - began) * 1000

    def far_token(self, pages: int) -> str:
        """The token of a page so many pages down."""
        for _ in range(pages):
            self.milliseconds(self.token)
        return self.token


def fill(server: Server, job_id: str) -> None:
    engine = create_engine(server.database_url.replace("postgresql:", "postgresql+psycopg2:"))
    with engine.begin() as connection:
        columns = ", ".join(column.name for column in job.columns if column.computed is None)
        for statement in FILL.format(columns=columns).split(";\n"):
            connection.execute(text(statement), {"job_id": job_id, "jobs": JOBS, "errors": ERRORS})
    engine.dispose()


def main() -> None:
    figure = Figure(
        "Lists",
        f"Milliseconds of one page of {PAGE}, as the client sees it, of a list of {JOBS:,} jobs and of one of "
        f"{ERRORS:,} item errors: the first one, and one nine tenths down.",
    )
    with world(1000) as here:
        sink = here.sink()
        server = here.server(sink)
        job_id = server.run(1000).job_id
        stubs = server.client._connection.stubs().job
        lists = {
            "ListJobs": (Pages(stubs.ListJobs, ListJobsRequest), JOBS),
            "ListItemErrors": (
                Pages(stubs.ListItemErrors, ListItemErrorsRequest, job_id=job_id),
                ERRORS,
            ),
        }
        fill(server, job_id)
        for name, (pages, entries) in lists.items():
            far = pages.far_token(entries * 9 // 10 // PAGE)
            found = in_turn(
                ROUNDS,
                {"first page": partial(pages.milliseconds, ""), "far down": partial(pages.milliseconds, far)},
            )
            for where, taken in found.items():
                figure.line(f"{name} over {entries:,}, {where}", f"{taken:.1f} ms")
            figure.ratio(f"{name}, far down / first page", found["far down"] / found["first page"], most=1.3)
    figure.note(
        "tests/integration/storage/jobs/test_show.py shows by EXPLAIN that a page reads from an index what it shows."
    )
    figure.save()


if __name__ == "__main__":
    main()
