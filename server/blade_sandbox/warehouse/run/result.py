"""One statement's result: kept in memory while small, in temporary files once it is not.

A result is complete before the statement counts as finished, so an error in its last row is an error of the
statement, and the number of rows is known. Memory stays flat: rows wait in Arrow IPC files of about 4 MB each (one
file, one CloudFetch link) and are read back one chunk at a time.
"""

from __future__ import annotations

import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import lz4.frame
import pyarrow as pa

from blade_sandbox.warehouse.run.wire_format import Column, WireFormat, arrow_schema, convert

CHUNK_BYTES = 4 * 1024 * 1024
"""Rows are cut into chunks of about this many bytes, uncompressed: the size of a CloudFetch file."""

INLINE_BYTES = 2 * 1024 * 1024
"""A result up to this size travels inside the Thrift reply; above, as links where the client takes them."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Consecutive rows, on disk (``path``) or in memory (``batches``).

    Attributes:
        start: offset of the first row in the result.
        rows: number of rows.
        size: bytes of the Arrow IPC stream, uncompressed.
    """

    start: int
    rows: int
    size: int
    path: Path | None = None
    batches: tuple[pa.RecordBatch, ...] = ()


@dataclass(kw_only=True)
class Result:
    """The rows of one statement, in the types its client asked for.

    Attributes:
        staging: the one row tells the client to move a file.

    Not safe for concurrent writers; any number of readers once ``finish`` has returned.
    """

    columns: Sequence[Column]
    wire: WireFormat
    chunks: list[Chunk] = field(default_factory=list)
    rows: int = 0
    appended: int = 0
    staging: bool = False
    _pending: list[pa.RecordBatch] = field(default_factory=list)
    _pending_bytes: int = 0
    _folder: Path | None = None

    def __post_init__(self) -> None:
        self.schema = arrow_schema(self.columns, self.wire)

    @property
    def is_inline(self) -> bool:
        """The rows travel inside the replies: the result is small, or the client takes no links."""
        return not self.wire.links or self._folder is None

    def append(self, batch: pa.RecordBatch) -> None:
        """Add rows as DuckDB gave them.

        Raises:
            SqlError: a value does not fit its Databricks type.
        """
        if batch.num_rows == 0:
            return
        self.appended += batch.num_rows
        converted = convert(batch, self.columns, self.schema)
        self._pending.append(converted)
        self._pending_bytes += converted.nbytes
        limit = INLINE_BYTES if self._folder is None else CHUNK_BYTES
        if self._pending_bytes > limit:
            self._spill()

    def finish(self, drop_rows: int = 0) -> None:
        """End the result; ``drop_rows`` silently loses that many of the last rows (a fault)."""
        if self._folder is not None:
            self._spill()
        elif self._pending:
            rows = sum(batch.num_rows for batch in self._pending)
            self._add(Chunk(start=0, rows=rows, size=self._pending_bytes, batches=tuple(self._pending)))
            self._pending = []
        if 0 < drop_rows < self.rows:
            self.rows -= drop_rows

    def chunk_at(self, row: int) -> int:
        """The number of the chunk that holds this row."""
        return bisect_right(self.chunks, row, key=lambda chunk: chunk.start) - 1

    def read(self, start: int, rows: int) -> Iterator[pa.RecordBatch]:
        """Batches that hold exactly the rows ``start`` to ``start + rows - 1``, from as many chunks as it takes."""
        end = min(start + rows, self.rows)
        while start < end:
            chunk = self.chunks[self.chunk_at(start)]
            skip = start - chunk.start
            take = min(chunk.rows - skip, end - start)
            yield from _cut(self._batches(chunk), skip, take)
            start += take

    def file(self, number: int, skip: int, rows: int) -> bytes:
        """The body of a CloudFetch download: ``rows`` rows of a chunk after its first ``skip``.

        An Arrow IPC stream, compressed as the client asked.
        """
        chunk = self.chunks[number]
        if chunk.path is not None and skip == 0 and rows == chunk.rows:
            return chunk.path.read_bytes()
        return self._compress(self._stream(list(self.read(chunk.start + skip, rows))))

    def close(self) -> None:
        """Forget the rows and delete the files."""
        self.chunks, self._pending = [], []
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _spill(self) -> None:
        if not self._pending:
            return
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="blade-warehouse-"))
        path = self._folder / str(len(self.chunks))
        body = self._stream(self._pending)
        path.write_bytes(self._compress(body))
        rows = sum(batch.num_rows for batch in self._pending)
        self._add(Chunk(start=self.rows, rows=rows, size=len(body), path=path))
        self._pending, self._pending_bytes = [], 0

    def _add(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        self.rows += chunk.rows

    def _stream(self, batches: list[pa.RecordBatch]) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return bytes(sink.getvalue())

    def _compress(self, body: bytes) -> bytes:
        return bytes(lz4.frame.compress(body)) if self.wire.lz4 else body

    def _batches(self, chunk: Chunk) -> Sequence[pa.RecordBatch]:
        if chunk.path is None:
            return chunk.batches
        body = chunk.path.read_bytes()
        if self.wire.lz4:
            body = lz4.frame.decompress(body)
        batches: list[pa.RecordBatch] = list(pa.ipc.open_stream(body))
        return batches


def _cut(batches: Sequence[pa.RecordBatch], skip: int, take: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        if take <= 0:
            return
        if skip >= batch.num_rows:
            skip -= batch.num_rows
            continue
        piece = batch.slice(skip, take)
        skip = 0
        take -= piece.num_rows
        yield piece
