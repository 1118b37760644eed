"""Peer: the script a careful user writes. Driver, Arrow batches, `requests` with `files=`, a thread pool.

thread_pool.py WAREHOUSE HTTP_PATH TOKEN TABLE SINK BATCH THREADS; BATCH 1: one POST an item. Prints items, seconds, CPU
seconds.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import catalog_form
import requests


def batches(cursor: Any, size: int) -> Iterator[list[dict[str, Any]]]:
    while (table := cursor.fetchmany_arrow(50_000 // size * size)).num_rows:
        rows = table.to_pylist()
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def main() -> None:
    warehouse, http_path, token, table, sink, batch, threads = sys.argv[1:]
    local = threading.local()
    room = threading.Semaphore(4 * int(threads))  # else the whole result would wait in memory

    def send(rows: list[dict[str, Any]]) -> int:
        try:
            if not hasattr(local, "session"):
                local.session = requests.Session()
            catalog_form.post(local.session, sink, rows, single=int(batch) == 1)
            return len(rows)
        finally:
            room.release()

    began, cpu_s = time.perf_counter(), time.process_time()
    sent = []
    with catalog_form.connect(warehouse, http_path, token) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        with ThreadPoolExecutor(int(threads)) as pool:
            for rows in batches(cursor, int(batch)):
                room.acquire()
                sent.append(pool.submit(send, rows))
        items = sum(future.result() for future in sent)
        print(items, time.perf_counter() - began, time.process_time() - cpu_s)


if __name__ == "__main__":
    main()
