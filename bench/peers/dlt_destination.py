"""Peer: dlt with its custom destination over HTTP, in the faster of its formats.

dlt_destination.py WAREHOUSE HTTP_PATH TOKEN TABLE SINK BATCH THREADS [FORMAT]. Prints items, seconds, CPU seconds.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import catalog_form
import requests

FILE_ROWS = 10_000


def main() -> None:
    warehouse, http_path, token, table, sink, batch, threads = sys.argv[1:8]
    file_format: Any = sys.argv[8] if len(sys.argv) > 8 else "parquet"
    os.environ |= {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DATA_WRITER__FILE_MAX_ITEMS": str(FILE_ROWS),  # a file is a unit of its parallelism
        "DATA_WRITER__BUFFER_MAX_ITEMS": str(FILE_ROWS),
        "LOAD__WORKERS": threads,
        "LOAD__DELETE_COMPLETED_JOBS": "true",
    }
    import dlt

    local = threading.local()
    counted = []

    @dlt.destination(
        batch_size=int(batch),
        loader_file_format=file_format,
        name="catalog",
        naming_convention="direct",
        skip_dlt_columns_and_tables=True,
        max_parallel_load_jobs=int(threads),
    )
    def catalog(items: Any, table: Any) -> None:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        items = items.to_pylist() if file_format == "parquet" else items
        catalog_form.post(local.session, sink, items)
        counted.append(len(items))

    def rows() -> Iterator[Any]:
        with catalog_form.connect(warehouse, http_path, token) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {table}")
            while (found := cursor.fetchmany_arrow(FILE_ROWS)).num_rows:
                yield found if file_format == "parquet" else found.to_pylist()

    began, cpu_s = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("bench", destination=catalog, pipelines_dir=folder)
        pipeline.run(dlt.resource(rows, name="items"))
    print(sum(counted), time.perf_counter() - began, time.process_time() - cpu_s)


if __name__ == "__main__":
    main()
