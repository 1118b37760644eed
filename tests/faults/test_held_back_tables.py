"""Tables of odd shapes and sizes, moved by real servers and compared value by value."""

from __future__ import annotations

import pytest
from tests.faults.tables import SHORT
from tests.faults.world import FaultWorld

from blade_sandbox.check import Expected, check

_REST = "'UNCLASS' AS classification, last_modified"
TABLES = {
    "no_row": f"SELECT * FROM {SHORT} WHERE number < 0",
    "one_row": f"SELECT * FROM {SHORT} WHERE number = 1",
    "exactly_one_batch": f"SELECT * FROM {SHORT} WHERE number < 100",
    "odd_ids": (
        "SELECT concat('a/b %25 \"q\" . ', chr(128512), repeat('x', 480), number) AS item_id,"
        f" {_REST}, array(1, NULL) AS some, named_struct('a b', 1) AS inner FROM {SHORT}"
    ),
    "extreme_numbers": (
        f"SELECT concat('n-', number) AS item_id, {_REST}, CAST('NaN' AS DOUBLE) AS nan,"
        " CAST('Infinity' AS DOUBLE) AS infinite, CAST(repeat('9', 38) AS DECIMAL(38,0)) AS large, '' AS empty"
        f" FROM {SHORT}"
    ),
    "five_hundred_columns": (
        f'SELECT *, {", ".join(f"{number} AS c{number}" for number in range(500))}, 2 AS `ü "` FROM {SHORT}'
    ),
    "rows_of_megabytes": (f"SELECT item_id, {_REST}, repeat('é', 1500000) AS words FROM {SHORT} WHERE number < 20"),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_value_arrives_from_a_table_with(world: FaultWorld, name: str) -> None:
    world.servers.serve("a")
    table = f"main.faults.with_{name}"
    world.sandbox.run_sql(f"CREATE OR REPLACE TABLE {table} AS {TABLES[name]}")
    run = world.jobs.start(SHORT, source=world.jobs.add_source(table))
    job = world.jobs.until_ended(run)
    found = check(world.sandbox.world, f"SELECT * FROM {table} ORDER BY item_id", Expected(data_type=run.data_type))
    assert found.clean, found
    assert (job.status, job.success_count, job.error_count) == ("COMPLETED", found.rows, 0), job.error_message
