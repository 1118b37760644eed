"""The result of a query, read as items or as Arrow; nothing is fetched before it is read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import IO, TYPE_CHECKING

from blade.v1.item_pb2 import Item, ItemRejection
from blade.v1.query_service_pb2 import ArrowTrailer, QueryArrowRequest, QueryArrowResponse, QueryItemsRequest
from blade_client.arrow_answer import record_batch
from blade_client.calls import Calls
from blade_client.errors import IncompleteStream, MissingExtra, RowsLeftOut

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_END_OF_ARROW_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


class QueryResult:
    """Rows of one query. Each reading runs the query again; leaving a reading early cancels it on the warehouse.

    Attributes:
        rejections: Rows that could not become items, filled while the items are read; complete after the last one.
        more_rows: True after the last item if the limit leaves rows out.
    """

    def __init__(
        self, calls: Calls, *, items: QueryItemsRequest, arrow: QueryArrowRequest, timeout_s: float | None
    ) -> None:
        self._calls = calls
        self._items = items
        self._arrow = arrow
        self._timeout_s = timeout_s
        self.rejections: list[ItemRejection] = []
        self.more_rows = False

    def __iter__(self) -> Iterator[Item]:
        """The items, in chunks from the server. Without a limit: 100 rows, and RowsLeftOut warns if there are more."""
        self.rejections, self.more_rows = [], False
        answers = self._calls.stream(lambda s: s.query.QueryItems, self._items, timeout_s=self._timeout_s)
        with closing(answers):
            for chunk in answers:
                self.rejections.extend(chunk.rejections)
                self.more_rows = chunk.more_rows
                yield from chunk.items
        if self.more_rows and not self._items.HasField("limit"):
            warnings.warn(
                "The query has more than the 100 rows read here: say how many with limit=, or read all by to_arrow().",
                RowsLeftOut,
                stacklevel=2,
            )

    def arrow_batches(self) -> Generator[pa.RecordBatch, None, None]:
        """The rows as Arrow record batches, each in its own type, as they come; without a limit: all rows.

        Raises:
            IncompleteStream: The stream ended early; the batches so far are not the whole result.
            MissingExtra: pyarrow is not installed.
        """
        with closing(self._arrow_feed()) as feed:
            yield from feed.batches()

    def to_arrow(self) -> pa.Table:
        """The whole result as a table in memory. Raises as arrow_batches; a partial table is never returned."""
        _require_pyarrow()
        import pyarrow as pa

        with closing(self._arrow_feed()) as feed:
            batches = list(feed.batches())
            return pa.Table.from_batches(batches, feed.schema)

    def to_pandas(self) -> pd.DataFrame:
        """The whole result as a data frame. Raises as to_arrow; needs pandas too."""
        try:
            import pandas  # noqa: F401 - pyarrow needs it and would say so less clearly
        except ImportError as missing:
            raise MissingExtra("to_pandas needs pandas: pip install 'blade[pandas]'.") from missing
        return self.to_arrow().to_pandas()

    def write_arrow(self, file: IO[bytes]) -> int:
        """Writes the whole result as an Arrow IPC stream without needing pyarrow.

        Returns:
            The number of rows.

        Raises:
            IncompleteStream: The stream ended early; what was written is not the whole result.
        """
        with closing(self._arrow_feed()) as feed:
            for message in feed.messages():
                file.write(message)
            file.write(_END_OF_ARROW_STREAM)
            return feed.rows_announced

    def _arrow_feed(self) -> ArrowFeed:
        return ArrowFeed(lambda: self._calls.stream(lambda s: s.arrow, self._arrow, timeout_s=self._timeout_s))


class ArrowFeed:
    """Arrow messages off the wire, as the read-only file that pyarrow's stream reader wants, without a copy."""

    schema: pa.Schema
    closed = False

    def __init__(self, open_stream: Callable[[], Generator[bytes, None, None]]) -> None:
        self._answers = open_stream()
        self._messages = self.messages()
        self._rest = memoryview(b"")
        self._trailer: ArrowTrailer | None = None

    @property
    def rows_announced(self) -> int:
        """Rows of the complete result; known after the last message."""
        return self._trailer.row_count if self._trailer else 0

    def messages(self) -> Iterator[bytes | memoryview]:
        """Schema and batches as they come. Raises IncompleteStream if the end comes without a trailer."""
        sent = 0
        for received in self._answers:
            sent += 1
            batch = record_batch(received)
            if batch is not None:
                yield batch
                continue
            answer = QueryArrowResponse.FromString(received)
            part = answer.WhichOneof("part")
            if part == "trailer":
                self._trailer = answer.trailer
                return
            yield answer.schema if part == "schema" else answer.record_batch
        raise IncompleteStream(
            f"The Arrow stream ended after {sent} messages without its trailer, so rows are missing; query again."
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The record batches; the number of their rows is checked against the trailer."""
        _require_pyarrow()
        import pyarrow as pa

        rows = 0
        try:
            file = pa.PythonFile(self, mode="r")  # type: ignore[arg-type]  # the stub asks for io.IOBase, Arrow for less
            reader = pa.ipc.open_stream(file)
            self.schema = reader.schema
            for batch in reader:
                rows += batch.num_rows
                yield batch
        except pa.ArrowInvalid as wrong:
            raise IncompleteStream(f"The server sent something that is not an Arrow stream: {wrong}") from wrong
        if rows != self.rows_announced:
            raise IncompleteStream(
                f"The Arrow stream announced {self.rows_announced:,} rows and brought {rows:,}; query again."
            )

    def read(self, size: int) -> memoryview:
        """Up to `size` bytes of one message, as a view of it; Arrow never reads across two. Empty at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._messages, b""))
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def readable(self) -> bool:
        """Always true; pyarrow asks."""
        return True

    def close(self) -> None:
        """Leaves the stream; the server cancels the statement if it still runs."""
        self.closed = True
        self._answers.close()


def _require_pyarrow() -> None:
    try:
        import pyarrow.ipc  # noqa: F401 - only whether it is there
    except ImportError as missing:
        raise MissingExtra("Reading a query as Arrow needs pyarrow: pip install 'blade[arrow]'.") from missing
