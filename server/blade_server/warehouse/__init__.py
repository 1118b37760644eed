"""Databricks SQL warehouses: one statement at a time, its rows as Arrow batches; and a connection tried step by step.

    databricks                  Warehouse, and the Result of a statement
    probe                       connect_steps
    tally                       Tally: what statements take
    target                      which warehouse, and as whom
    statement, session, oauth   the driver's calls, made by a driver_thread
    reach                       where the driver may go
    meter                       what is measured of a statement
    schema                      the types of a result, whatever the driver made of them
    failures                    what the driver raises -> BLADE's errors

Others import the names below from here, and nothing from inside.
"""

from blade_server.warehouse.databricks import MAX_BATCH_ROWS, Result, Warehouse
from blade_server.warehouse.probe import connect_steps
from blade_server.warehouse.tally import Tally
from blade_server.warehouse.target import Target

__all__ = ["MAX_BATCH_ROWS", "Tally", "Result", "Target", "Warehouse", "connect_steps"]
