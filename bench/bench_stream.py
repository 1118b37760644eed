"""QueryArrow against Arrow Flight and the driver alone; the first batch; memory; a slow client."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import pyarrow as pa
import pyarrow.flight
import rows
from databricks import sql
from figure import FULL, QUICK, Figure, in_turn
from signed_in import METADATA
from world import HERE, HTTP_PATH, TOKEN, Server, World, world

from blade.v1.query_service_pb2 import QueryArrowRequest, QueryArrowResponse
from blade_client.arrow_answer import record_batch

ROWS = 100_000 if QUICK else 500_000
MANY = 1_000_000 if QUICK else (10_000_000 if FULL else 3_000_000)
ROUNDS = 3 if QUICK else 5
SLOW_MESSAGES, SLOW_S = 40, 0.2


class Stream:
    """QueryArrow without the client library: messages as bytes, parsed as the library parses them."""

    def __init__(self, server: Server, count: int) -> None:
        self._channel = grpc.insecure_channel(server.target, [("grpc.max_receive_message_length", -1)])
        call = self._channel.unary_stream("/blade.v1.QueryService/QueryArrow")
        self.messages = call(QueryArrowRequest(source=rows.data_type(count)).SerializeToString(), metadata=METADATA)

    def read(self) -> int:
        schema, count = None, 0
        for message in self.messages:
            batch = record_batch(message)
            if batch is not None:
                count += pa.ipc.read_record_batch(pa.py_buffer(batch), schema).num_rows
            elif schema is None:
                schema = pa.ipc.read_schema(pa.py_buffer(QueryArrowResponse.FromString(message).schema))
        self.close()
        return count

    def first(self) -> float:
        """When the first batch was here; leaves then."""
        while record_batch(next(self.messages)) is None:
            pass
        here = time.perf_counter()
        self.messages.cancel()
        self.close()
        return here

    def close(self) -> None:
        self._channel.close()


def flight(port: str, asked: str) -> float:
    """When the first batch was here; reads them all."""
    with pyarrow.flight.FlightClient(f"grpc://127.0.0.1:{port}") as client:
        reader = client.do_get(pyarrow.flight.Ticket(asked.encode()))
        count = reader.read_chunk().data.num_rows
        first = time.perf_counter()
        count += sum(chunk.data.num_rows for chunk in reader)
        assert count == ROWS
        return first


def driver(here: World, count: int) -> float:
    """As `flight`. It downloads ahead, and complains aloud if the result is closed meanwhile: so to the end, too."""
    where = here.warehouse.found
    with (
        sql.connect(
            where, HTTP_PATH, access_token=TOKEN, _connection_uri=where + HTTP_PATH, enable_telemetry=False
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(f"SELECT * FROM {rows.table_name(count)}")
        cursor.fetchmany_arrow(10_000)
        first = time.perf_counter()
        while cursor.fetchmany_arrow(10_000).num_rows:
            pass
        return first


def seconds(call: Callable[[], object]) -> float:
    """To the end of the call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def seconds_to_first(call: Callable[[], float]) -> float:
    """To the first batch."""
    began = time.perf_counter()
    return call() - began


def peak_mb(server: Server, count: int, pause_s: float = 0.0, messages: int | None = None) -> float:
    server.process.forget_peak()
    stream = Stream(server, count)
    for number, _ in enumerate(stream.messages):
        time.sleep(pause_s)
        if number == messages:
            break
    stream.messages.cancel()
    stream.close()
    return server.process.memory_mb("VmHWM")


def main() -> None:
    figure = Figure(
        "Query streams",
        f"{ROWS:,} rows of ten columns. From memory: the stream alone, both with the rows at hand. From the warehouse: "
        "the same statement through the same driver on both sides.",
    )
    with world(ROWS, 100_000, MANY) if ROWS != 100_000 else world(ROWS, MANY) as here:
        server = here.server()
        memory = here.server(program=[str(HERE / "from_memory.py")], BENCH_ROWS=str(ROWS))
        peer = here.program(
            str(HERE / "flight_server.py"), r"port (\d+)", here.warehouse.found, HTTP_PATH, TOKEN, str(ROWS)
        )
        for count in {ROWS, 100_000, MANY}:
            server.add_source(count)
        table = rows.table_name(ROWS)
        found = in_turn(
            ROUNDS,
            {
                "Flight, memory": lambda: seconds(lambda: flight(peer.found, "memory")),
                "QueryArrow, memory": lambda: seconds(lambda: Stream(memory, ROWS).read()),
                "Flight": lambda: seconds(lambda: flight(peer.found, table)),
                "QueryArrow": lambda: seconds(lambda: Stream(server, ROWS).read()),
                "driver alone": lambda: seconds(lambda: driver(here, ROWS)),
            },
        )
        first = in_turn(
            ROUNDS,
            {
                "Flight": lambda: seconds_to_first(lambda: flight(peer.found, table)),
                "QueryArrow": lambda: seconds_to_first(lambda: Stream(server, ROWS).first()),
                "driver alone": lambda: seconds_to_first(lambda: driver(here, ROWS)),
            },
        )
        for name, taken in found.items():
            figure.line(f"{name}, rows/s", f"{ROWS / taken:,.0f}")
        figure.ratio(
            "QueryArrow / Flight, from memory", found["Flight, memory"] / found["QueryArrow, memory"], least=0.75
        )
        figure.ratio("QueryArrow / Flight, from the warehouse", found["Flight"] / found["QueryArrow"], least=0.9)
        figure.ratio("QueryArrow / driver alone", found["driver alone"] / found["QueryArrow"])
        figure.ratio("first batch, QueryArrow / driver alone", first["QueryArrow"] / first["driver alone"], most=1.2)

        small, large = peak_mb(server, 100_000), peak_mb(server, MANY)
        figure.line("peak memory, 100,000 rows", f"{small:.0f} MB")
        figure.line(f"peak memory, {MANY:,} rows", f"{large:.0f} MB")
        figure.ratio("peak memory, many / 100,000 rows", large / small, most=1.2)
        slow = peak_mb(server, MANY, SLOW_S, SLOW_MESSAGES)
        figure.ratio(f"peak memory, client that reads {1 / SLOW_S:.0f} messages/s / fast one", slow / large, most=1.1)
    figure.save()


if __name__ == "__main__":
    main()
