from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import grpc
import pyarrow as pa
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from blade.v1.ingest_service_pb2 import IngestItemResponse
from blade.v1.item_pb2 import Item, ItemRejection
from blade.v1.query_service_pb2 import ArrowTrailer, GetItemResponse, QueryArrowResponse, QueryItemsResponse

TABLE = pa.table({"n": [1, 2, 3]})


def item(item_id: str, **data: object) -> Item:
    made = Item(item_id=item_id, data_type="m", classification="UNCLASS", metadata={"source": "s"})
    made.last_modified.CopyFrom(Timestamp(seconds=1_704_900_600))
    made.data.update(data)
    return made


ROWS = [
    item("A-1", tail="AF-001", hours=12, share=0.5, note="a,b\n\x1b[31mc", empty=None, nested={"x": [1, True]}),
    item("A-2", tail="Äé", hours=9007199254740991),
]


@pytest.fixture
def rows(server):
    server.on("QueryItems", [QueryItemsResponse(items=ROWS[:1]), QueryItemsResponse(items=ROWS[1:])])


@pytest.fixture
def arrow(server):
    parts = [
        QueryArrowResponse(schema=TABLE.schema.serialize().to_pybytes()),
        QueryArrowResponse(record_batch=TABLE.to_batches()[0].serialize().to_pybytes()),
        QueryArrowResponse(trailer=ArrowTrailer(row_count=3)),
    ]
    server.on("QueryArrow", parts)
    return parts


@pytest.mark.usefixtures("rows")
def test_the_options_of_a_query_are_sent(server, run) -> None:
    result = run(
        *["query", "m", "--source", "s", "--filter", "p = :p", "--param", "p=H=I", "--columns", "a,b"],
        *["--columns", "c", "--order-by", "a desc, b", "--limit", "-1", "--offset", "3"],
    )
    assert result.exit_code == 0, result.output
    (request,) = server.asked("QueryItems")
    assert (request.data_type, request.source, request.filter) == ("m", "s", "p = :p")
    assert dict(request.parameters) == {"p": "H=I"}
    assert list(request.columns) == ["a", "b", "c"]
    assert list(request.order_by) == ["a desc", "b"]
    assert (request.limit, request.offset) == (-1, 3), "whether a limit makes sense is for the server to say"


@pytest.mark.parametrize("form", ["csv", "ndjson", "json", "table"])
def test_a_file_gets_every_row_and_the_screen_says_what_it_leaves_out(server, run, tmp_path, form) -> None:
    server.add_source("s", data_type="m")
    server.add_items("s", {f"A-{n}": {"n": n} for n in range(250)})
    file = tmp_path / "rows"
    written = run("query", "m", "--format", form, "--output", str(file))
    assert (written.exit_code, written.stderr) == (0, "")
    assert sum(f"A-{n}" in file.read_text() for n in range(250)) == 250
    shown = run("query", "m", "--format", form)
    assert "A-99" in shown.stdout
    assert "A-100" not in shown.stdout
    assert "There are more rows than these" in shown.stderr
    limited = run("query", "m", "--format", form, "--limit", "3", "-o", str(file))
    assert "There are more rows than these" in limited.stderr
    assert run("query", "m", "--format", form, "--limit", "250").stderr == ""


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    ("name", "form"),
    [("r.csv", "csv"), ("r.JSON", "json"), ("r.ndjson", "ndjson"), ("r.jsonl", "ndjson"), ("a.csv/r.json", "json")],
)
def test_a_file_has_the_format_that_its_name_ends_with(run, tmp_path, name, form) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    written = run("query", "m", "--output", str(file))
    assert (written.exit_code, written.stderr) == (0, "")
    named = tmp_path / "named"
    assert run("query", "m", "--format", form, "--output", str(named)).exit_code == 0
    assert file.read_text() == named.read_text()


@pytest.mark.usefixtures("arrow")
def test_a_file_that_ends_with_arrow_is_one(run, tmp_path) -> None:
    file = tmp_path / "rows.arrow"
    assert run("query", "m", "-o", str(file)).exit_code == 0
    assert pa.ipc.open_stream(file.read_bytes()).read_all().equals(TABLE)


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("name", ["rows", "rows.txt", "rows.csv.gz"])
def test_a_file_whose_name_says_nothing_needs_a_format(server, run, tmp_path, name) -> None:
    result = run("query", "m", "--output", str(tmp_path / name))
    assert result.exit_code == 2
    assert "--format" in result.stderr
    assert ".csv, .json, .ndjson, .jsonl, .arrow" in " ".join(result.stderr.split())
    assert server.requests == []
    assert not (tmp_path / name).exists()
    assert run("query", "m", "--json", "--output", str(tmp_path / name)).exit_code == 0
    assert json.loads((tmp_path / name).read_text())["items"]
    assert run("query", "m", "--output", "-").stdout.startswith("ITEM ID")


def test_json_says_by_itself_that_rows_are_left_out(server, run) -> None:
    server.add_source("s", data_type="m")
    server.add_items("s", {"A-1": {}, "A-2": {}})
    assert json.loads(run("query", "m", "--json", "--limit", "1").stdout)["moreRows"] is True
    assert json.loads(run("query", "m", "--json").stdout)["moreRows"] is False


@pytest.mark.usefixtures("rows")
def test_a_table_has_a_line_for_each_row_whatever_the_values_hold(run) -> None:
    result = run("query", "m", "--columns", "tail,hours")
    header, first, second = result.stdout.splitlines()
    assert header.split()[:6] == ["ITEM", "ID", "CLASSIFICATION", "tail", "hours", "empty"]
    assert first.split()[:4] == ["A-1", "UNCLASS", "AF-001", "12"]
    assert second.split()[:4] == ["A-2", "UNCLASS", "Äé", "9007199254740991"]
    assert r"a,b\n\x1b[31mc" in first
    assert "\x1b" not in result.stdout


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize("arguments", [["--json"], ["--format", "json"]])
def test_json_is_one_object_with_whole_numbers_whole(run, arguments) -> None:
    shown = json.loads(run("query", "m", *arguments).stdout)
    assert [each["itemId"] for each in shown["items"]] == ["A-1", "A-2"]
    assert shown["rejections"] == []
    data = shown["items"][0]["data"]
    assert (data["hours"], type(data["hours"])) == (12, int)
    assert data["share"] == 0.5
    assert data["nested"] == {"x": [1, True]}
    assert data["empty"] is None
    assert list(data) == sorted(data)


@pytest.mark.usefixtures("rows")
def test_ndjson_is_one_item_a_line(run) -> None:
    lines = run("query", "m", "--format", "ndjson").stdout.splitlines()
    assert [json.loads(line)["itemId"] for line in lines] == ["A-1", "A-2"]


@pytest.mark.usefixtures("rows")
def test_csv_reads_back_as_the_same_values(run, tmp_path) -> None:
    file = tmp_path / "rows.csv"
    assert run("query", "m", "--format", "csv", "--columns", "tail", "-o", str(file)).exit_code == 0
    read = list(csv.DictReader(io.StringIO(file.read_text("utf-8"), newline="")))
    chosen_first = ["tail", "empty", "hours", "nested", "note", "share"]
    assert list(read[0]) == ["itemId", "itemClassification", "itemLastModified", *chosen_first]
    assert read[0]["note"] == "a,b\n\x1b[31mc"
    assert read[0]["nested"] == '{"x": [1, true]}'
    assert read[0]["itemLastModified"] == "2024-01-10T15:30:00Z"
    assert (read[1]["tail"], read[1]["note"], read[1]["hours"]) == ("Äé", "", "9007199254740991")


def test_rejected_rows_are_told_on_stderr(server, run) -> None:
    rejected = ItemRejection(reason="ERROR_REASON_MISSING_ITEM_ID", field="tail", message="is null")
    server.on("QueryItems", [QueryItemsResponse(items=ROWS, rejections=[rejected, rejected])])
    result = run("query", "m")
    assert result.exit_code == 0
    assert "2 rows could not become items" in result.stderr
    assert "tail: is null" in result.stderr
    server.on("QueryItems", [QueryItemsResponse(items=ROWS, rejections=[rejected])])
    assert "1 row could not become items" in run("query", "m").stderr
    server.on("QueryItems", [QueryItemsResponse(items=ROWS, rejections=[rejected, rejected])])
    shown = json.loads(run("query", "m", "--format", "json").stdout)
    assert [each["reason"] for each in shown["rejections"]] == ["ERROR_REASON_MISSING_ITEM_ID"] * 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("form", ["csv", "table", "ndjson"])
def test_a_full_disk_is_said_and_is_no_bug(server, spawn, form) -> None:
    server.on("QueryItems", [QueryItemsResponse(items=ROWS)])
    with Path("/dev/full").open("wb") as full:
        process = spawn("query", "m", "--format", form, stdout=full)
        _, stderr = process.communicate(timeout=20)
    assert "No space left on device" in stderr.decode()
    assert "Traceback" not in stderr.decode()
    assert process.returncode == 2


def test_an_output_file_that_cannot_be_written_is_wrong_usage(run, tmp_path) -> None:
    result = run("query", "m", "--output", str(tmp_path / "absent" / "rows.csv"))
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


def test_no_rows_is_said_on_stderr(server, run) -> None:
    server.on("QueryItems", [])
    result = run("query", "m")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "No rows.\n")


@pytest.mark.usefixtures("arrow")
def test_arrow_goes_to_a_file_or_to_stdout(run, tmp_path) -> None:
    file = tmp_path / "rows.arrow"
    result = run("query", "m", "--format", "arrow", "--output", str(file))
    assert result.exit_code == 0, result.output
    assert "3 rows" in result.stderr
    assert pa.ipc.open_stream(file.read_bytes()).read_all().equals(TABLE)
    piped = run("query", "m", "--format", "arrow")
    assert pa.ipc.open_stream(piped.stdout_bytes).read_all().equals(TABLE)


def test_an_incomplete_result_leaves_no_file_and_not_a_byte_of_the_old_one_changed(
    server, run, arrow, tmp_path
) -> None:
    server.on("QueryArrow", arrow[:-1])
    file = tmp_path / "rows.arrow"
    assert run("query", "m", "--format", "arrow", "-o", str(file)).exit_code == 70
    assert list(tmp_path.iterdir()) == []
    file.write_bytes(b"old")
    assert run("query", "m", "--format", "arrow", "-o", str(file)).exit_code == 70
    assert file.read_bytes() == b"old"
    server.on("QueryItems", server.fails(grpc.StatusCode.NOT_FOUND, "no m", "SOURCE_NOT_FOUND"))
    assert run("query", "m", "--format", "csv", "-o", str(file)).exit_code == 4
    assert [each.name for each in tmp_path.iterdir()] == ["rows.arrow"]


@pytest.mark.usefixtures("arrow")
def test_a_device_is_written_to_and_stays_one(run) -> None:
    assert run("query", "m", "--format", "arrow", "-o", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()


@pytest.mark.usefixtures("rows")
def test_a_folder_that_is_not_there_is_named(run, tmp_path) -> None:
    result = run("query", "m", "--format", "csv", "-o", str(tmp_path / "none" / "x.csv"))
    assert result.exit_code == 1 or result.exit_code == 2
    assert "x.csv" in result.stderr


def test_one_item_is_shown(server, run) -> None:
    server.on("GetItem", GetItemResponse(item=ROWS[0]))
    result = run("item", "get", "m", "A-1", "--source", "s")
    assert result.exit_code == 0
    assert "AF-001" in result.stdout
    assert json.loads(run("item", "get", "m", "A-1", "--json").stdout)["data"]["tail"] == "AF-001"
    (request, _) = server.asked("GetItem")
    assert (request.data_type, request.item_id, request.source) == ("m", "A-1", "s")


@pytest.mark.parametrize(
    ("outcome", "said"),
    [("CREATED", "is in the catalog now"), ("REPLACED", "was replaced"), ("ALREADY_EXISTS", "--replace")],
)
def test_ingesting_says_what_happened(server, run, outcome, said) -> None:
    server.on("IngestItem", IngestItemResponse(outcome=outcome, bytes_uploaded=1234))
    result = run("item", "ingest", "m", "A-1", "--replace", "--metadata", "k=v")
    assert result.exit_code == 0
    assert said in result.stdout
    assert json.loads(run("item", "ingest", "m", "A-1", "--json").stdout)["outcome"] == outcome
    request = server.asked("IngestItem")[0]
    assert (request.replace, dict(request.metadata)) == (True, {"k": "v"})
