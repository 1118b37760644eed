"""Files that can be tables: Parquet, CSV, JSON and NDJSON, the text ones also packed."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def scan(path: Path) -> str:
    """The DuckDB table function that reads this file, its path as the one parameter.

    Raises:
        ValueError: the name ends in nothing known.
    """
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return "read_parquet(?)"
    if suffix in (".csv", ".tsv", ".txt"):
        return "read_csv(?, sample_size = -1)"
    if suffix in (".json", ".ndjson", ".jsonl"):
        return "read_json(?, sample_size = -1)"
    raise ValueError(f"file {str(path)!r} is not .parquet, .csv, .json or .ndjson (the last three also as .gz or .zip)")


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The file itself, or a temporary unpacked copy of a .zip or .gz."""
    suffix = path.suffix.lower()
    if suffix not in (".zip", ".gz"):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="blade-warehouse-") as folder:
        plain = Path(folder) / path.stem
        if suffix == ".gz":
            with gzip.open(path, "rb") as source, plain.open("wb") as target:
                shutil.copyfileobj(source, target)
        else:
            plain = _unzip(path, Path(folder))
        yield plain


def _unzip(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if not info.is_dir()]
        if len(members) != 1:
            raise ValueError(f"{str(path)!r} holds {len(members)} files; a table needs a zip with exactly one")
        plain = folder / Path(members[0].filename).name
        with archive.open(members[0]) as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target)
    return plain
