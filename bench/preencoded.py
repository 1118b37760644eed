"""The limit of uploads: the same bytes as BLADE's, encoded beforehand, POSTed by `requests.Session` in threads.

preencoded.py SINK ITEMS BATCH THREADS [own]; own: over BLADE's own connections. Prints items, seconds, CPU seconds.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import requests
import rows

from blade_server.catalog import encode
from blade_server.catalog.wire.pool import ConnectionPool
from blade_server.core.transform.transform import Transform
from blade_server.model import Classification, RowMapping, Source, SourceConfig

ENCODED = 20_000
"""Items that are encoded; they are sent again and again."""


def requests_of(batch: int) -> list[tuple[str, bytes]]:
    """Content type and body of each request."""
    table = rows.batch(0, ENCODED)
    mapping = RowMapping(
        item_id="{item_id}", last_modified="last_modified", classification=Classification(column="classification")
    )
    config = SourceConfig(catalog="main", schema="blade", table="bench")
    source = Source(name="b", display_name="", data_type="bench", enabled=True, config=config, mapping=mapping)
    metadata = {"job": "a-job", "source": "bench", "warehouse": "bench"}
    transform = Transform(source, table.schema, known_classifications=frozenset({"UNCLASS"}), metadata=metadata)
    encoded = encode(source.data_source, transform.all(table.to_batches()).items)
    return [encoded.cut(start, start + batch).body() for start in range(0, ENCODED, batch)]


def main() -> None:
    sink, items, batch, threads = sys.argv[1], *map(int, sys.argv[2:5])
    encoded = requests_of(batch)
    path = "/v1/items" + ("" if batch == 1 else ":batch")
    own = ConnectionPool(sink, token=None, ca_file=None, timeout_s=30.0, size=threads) if "own" in sys.argv else None

    def send(thread: int) -> int:
        sent = 0
        with requests.Session() as session:
            for number in range(thread, items // batch, threads):
                content_type, body = encoded[number % len(encoded)]
                if own is not None:
                    status = own.request("POST", path, body, {"Content-Type": content_type}, stores=True).status
                else:
                    status = session.post(sink + path, body, headers={"Content-Type": content_type}).status_code
                assert status in {200, 201}, status
                sent += batch
        return sent

    began, cpu_s = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(threads) as pool:
        total = sum(pool.map(send, range(threads)))
    print(total, time.perf_counter() - began, time.process_time() - cpu_s)


if __name__ == "__main__":
    main()
