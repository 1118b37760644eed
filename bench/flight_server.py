"""Peer: Arrow Flight doing what QueryArrow does. `warehouse`: rows of a statement through the driver, lazily; `memory`:
the same rows from memory. Ends with its standard input.

flight_server.py WAREHOUSE HTTP_PATH TOKEN ROWS
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.flight
import rows
from databricks import sql

BATCH_ROWS = 10_000  # as QueryArrow


class Server(pyarrow.flight.FlightServerBase):
    def __init__(self, warehouse: str, http_path: str, token: str, count: int) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self._where = warehouse, http_path, token
        self._memory = rows.batch(0, count)

    def do_get(self, context: Any, ticket: Any) -> Any:
        asked = ticket.ticket.decode()
        if asked == "memory":
            return pyarrow.flight.RecordBatchStream(self._memory.to_reader(max_chunksize=BATCH_ROWS))
        warehouse, http_path, token = self._where
        connection = sql.connect(
            warehouse, http_path, access_token=token, _connection_uri=warehouse + http_path, enable_telemetry=False
        )
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {asked}")
        first = cursor.fetchmany_arrow(BATCH_ROWS)

        def batches() -> Iterator[pa.RecordBatch]:
            table = first
            while table.num_rows:
                yield from table.combine_chunks().to_batches()
                table = cursor.fetchmany_arrow(BATCH_ROWS)
            connection.close()

        return pyarrow.flight.GeneratorStream(first.schema, batches())


def main() -> None:
    server = Server(*sys.argv[1:4], int(sys.argv[4]))
    print(f"port {server.port}", flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve()


if __name__ == "__main__":
    main()
