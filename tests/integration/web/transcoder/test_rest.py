from __future__ import annotations

import http.client
import json
from urllib.parse import quote

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

from blade.v1 import (
    config_service_pb2,
    error_reason_pb2,
    ingest_service_pb2,
    job_pb2,
    job_service_pb2,
    query_service_pb2,
    source_pb2,
)

Job = job_pb2.Job

CUSTOMER_SOURCE = {
    "name": "blade-maintenance",
    "displayName": "BLADE Maintenance Data",
    "dataType": "maintenance",
    "enabled": True,
    "config": {
        "catalog": "main",
        "schema": "blade",
        "table": "blade_maintenance_data",
        "warehouse_id": "test-warehouse",
    },
}

# "Progress Tracking" of the customer's description of the data flow, as it stands there.
CUSTOMER_PROGRESS = """
{
  "jobId": "job-123",
  "status": "RUNNING",
  "totalItems": 1000,
  "processedItems": 450,
  "successCount": 445,
  "errorCount": 5,
  "currentOperation": "Processing batch 5/10",
  "estimatedCompletion": "2024-01-10T15:30:00Z"
}
"""


class TestTheCustomersCalls:
    def test_configure_adds_the_source_of_the_document(self, rest, backend):
        stored = source_pb2.Source(name="blade-maintenance", display_name="BLADE Maintenance Data")
        backend.answers["AddSource"] = config_service_pb2.AddSourceResponse(source=stored)
        answer = rest.post("/configure/blade/maintenance", CUSTOMER_SOURCE)
        assert answer.status_code == 200
        assert answer.json()["displayName"] == "BLADE Maintenance Data"
        asked = backend.last
        assert asked.data_type == asked.source.data_type == "maintenance"
        assert asked.source.enabled
        assert asked.source.config.warehouse_id == "test-warehouse"

    def test_query_answers_with_one_object(self, rest, backend):
        chunk = query_service_pb2.QueryItemsResponse()
        chunk.items.add(item_id="MAINT-1").data.update({"tail_number": "AF-001", "hours": 1.5})
        backend.answers["QueryItems"] = [chunk, chunk]
        answer = rest.get("/blade/maintenance?limit=10")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert [item["data"] for item in answer.json()["items"]] == [{"tail_number": "AF-001", "hours": 1.5}] * 2
        assert (backend.last.data_type, backend.last.limit) == ("maintenance", 10)

    def test_ingest_needs_no_body(self, rest, backend):
        backend.answers["IngestItem"] = ingest_service_pb2.IngestItemResponse(outcome="CREATED", bytes_uploaded=2**40)
        answer = rest.call("POST", "/blade/maintenance/MAINT-123/ingest")
        assert answer.status_code == 200
        assert answer.json() == {"outcome": "CREATED", "bytesUploaded": 2**40}
        assert (backend.last.data_type, backend.last.item_id) == ("maintenance", "MAINT-123")

    def test_start_is_accepted_with_202(self, rest, backend):
        backend.answers["StartQueryJob"] = job_service_pb2.StartQueryJobResponse(
            job=Job(job_id="job-123", status="PENDING")
        )
        answer = rest.post("/jobs/blade/query/start", {"sql": "SELECT * FROM maintenance WHERE priority='HIGH'"})
        assert answer.status_code == 202
        assert (answer.json()["jobId"], answer.json()["status"]) == ("job-123", "PENDING")
        assert backend.last.sql == "SELECT * FROM maintenance WHERE priority='HIGH'"

    @pytest.mark.parametrize("path", ["/jobs/blade/query/status?id=job-123", "/jobs/job-123", "/jobs/job-123:watch"])
    def test_progress_is_written_byte_for_byte_as_in_the_document(self, rest, backend, path):
        progress = json.loads(CUSTOMER_PROGRESS)
        job = json_format.ParseDict(progress, Job())
        backend.answers["GetJob"] = job_service_pb2.GetJobResponse(job=job)
        backend.answers["WatchJob"] = [job_service_pb2.WatchJobResponse(job=job)]
        written = rest.get(path, headers={"accept": "text/event-stream, application/json;q=0.9"}).text
        for name, value in progress.items():
            assert json.dumps({name: value}, separators=(",", ":"))[1:-1] in written, name

    def test_progress_beyond_32_bits_is_a_number_as_well(self, rest, backend):
        job = Job(total_items=2**53 - 1, success_count=2**40, bytes_uploaded=2**62, revision=2**33)
        job.error_summaries.add(count=2**34)
        job.spec.limits.max_errors = 2**35
        backend.answers["GetJob"] = job_service_pb2.GetJobResponse(job=job)
        shown = rest.get("/jobs/job-123").json()
        assert (shown["totalItems"], shown["successCount"]) == (2**53 - 1, 2**40)
        assert (shown["bytesUploaded"], shown["revision"]) == (2**62, 2**33)
        assert (shown["errorSummaries"][0]["count"], shown["spec"]["limits"]["maxErrors"]) == (2**34, 2**35)


class TestRequests:
    def test_an_additional_binding_is_the_same_call(self, rest, backend):
        rest.get("/jobs/job-7")
        assert backend.last.id == "job-7"

    @pytest.mark.parametrize("verb", ["pause", "resume", "cancel", "retry"])
    def test_custom_verbs_reach_their_call(self, rest, backend, verb):
        assert rest.post(f"/jobs/job-7:{verb}", {"reason": "lunch"}).status_code == 200
        assert (backend.last.job_id, backend.last.reason) == ("job-7", "lunch")
        assert backend.asked[-1][0].lower().startswith(verb)

    def test_a_path_value_may_hold_a_slash_and_a_colon(self, rest, backend):
        rest.get("/blade/maintenance/MAINT%2F1:2%20%C3%A4")
        assert backend.last.item_id == "MAINT/1:2 ä"

    @pytest.mark.parametrize("item_id", [".", "..", "a/../b", "%2E"])
    def test_an_item_id_of_dots_is_reached_by_query_body_and_encoded_path(self, rest, backend, item_id):
        """Browsers, curl and requests take even encoded dots for steps in the path; http.client leaves them alone."""
        assert rest.get("/blade/maintenance:item", params={"itemId": item_id}).status_code == 200
        assert (backend.last.data_type, backend.last.item_id) == ("maintenance", item_id)
        assert rest.post("/blade/maintenance:ingest", {"itemId": item_id, "replace": True}).status_code == 200
        assert (backend.last.data_type, backend.last.item_id) == ("maintenance", item_id)
        connection = http.client.HTTPConnection("127.0.0.1", rest.port, timeout=60)
        encoded = quote(item_id, safe="").replace(".", "%2E")
        for verb, path in (("GET", encoded), ("POST", f"{encoded}/ingest")):
            connection.request(verb, f"/blade/maintenance/{path}")
            answer = connection.getresponse()
            answer.read()
            assert (answer.status, backend.last.item_id) == (200, item_id)
        connection.close()

    def test_a_path_value_may_hold_a_line_break(self, rest, backend):
        rest.get("/blade/maintenance/a%0Ab")
        assert backend.last.item_id == "a\nb"

    def test_query_parameters_of_every_kind(self, rest, backend):
        rest.get(
            "/jobs?pageSize=3&statuses=RUNNING&statuses=PAUSED&source=a%26b&created_after=2026-01-01T00:00:00%2B02:00"
        )
        asked = backend.last
        assert (asked.page_size, list(asked.statuses), asked.source) == (3, [Job.RUNNING, Job.PAUSED], "a&b")
        assert asked.created_after.ToJsonString() == "2025-12-31T22:00:00Z"
        assert not asked.with_errors

    def test_the_list_of_jobs_that_completed_with_errors(self, rest, backend):
        flawed = Job(job_id="job-1", status="COMPLETED", error_count=2, completed_with_errors=True)
        backend.answers["ListJobs"] = job_service_pb2.ListJobsResponse(jobs=[flawed])
        (shown,) = rest.get("/jobs?withErrors=true").json()["jobs"]
        assert backend.last.with_errors
        assert (shown["status"], shown["errorCount"], shown["completedWithErrors"]) == ("COMPLETED", 2, True)

    def test_maps_and_repeated_strings_in_the_query(self, rest, backend):
        rest.get("/blade/maintenance?filter=priority=:p&parameters[p]=HIGH&parameters%5Bq%5D=&columns=a&columns=b,c")
        assert dict(backend.last.parameters) == {"p": "HIGH", "q": ""}
        assert list(backend.last.columns) == ["a", "b,c"]

    def test_booleans_and_durations_in_the_query(self, rest, backend):
        rest.post("/configure/blade/maintenance?validateOnly=true", CUSTOMER_SOURCE)
        assert backend.last.validate_only
        rest.get("/jobs/job-1:watch?minInterval=0.5s")
        assert backend.last.min_interval.ToMilliseconds() == 500

    @pytest.mark.parametrize("mask", ["displayName,config.table", "display_name,config.table"])
    def test_a_field_mask_in_either_spelling(self, rest, backend, mask):
        rest.call("PATCH", f"/configure/blade/x?updateMask={mask}", json={"displayName": "X"})
        assert list(backend.last.update_mask.paths) == ["display_name", "config.table"]
        assert (backend.last.source.name, backend.last.source.display_name) == ("x", "X")

    def test_both_spellings_in_the_body(self, rest, backend):
        rest.post("/jobs/blade/query/start", {"batch_size": 5, "maxErrors": 7})
        assert (backend.last.batch_size, backend.last.max_errors) == (5, 7)

    @pytest.mark.parametrize("count", [2**40, str(2**40)])
    def test_a_64_bit_integer_is_read_as_a_number_and_as_a_string(self, rest, backend, count):
        assert rest.post("/jobs/blade/query/start", {"maxErrors": count}).status_code == 202
        assert backend.last.max_errors == 2**40

    @pytest.mark.parametrize("count", [2**63, str(2**63), 1.5, "7 or so"])
    def test_what_is_no_64_bit_integer_is_refused_by_name(self, rest, count):
        answer = rest.post("/jobs/blade/query/start", {"maxErrors": count})
        assert answer.status_code == 400
        assert "maxErrors" in answer.text or "max_errors" in answer.text

    def test_null_is_the_same_as_nothing(self, rest, backend):
        rest.post("/jobs/blade/query/start", {"sql": "s", "batchSize": None})
        assert not backend.last.HasField("batch_size")

    def test_head_of_a_get_has_no_body(self, rest):
        answer = rest.call("HEAD", "/jobs/job-7")
        assert (answer.status_code, answer.content) == (200, b"")

    def test_the_actor_and_the_request_id_pass_through(self, rest, backend):
        answer = rest.post("/jobs/job-7:pause", {}, headers={"blade-actor": "sam", "x-request-id": "r-1"})
        assert backend.asked[-1][2].items() >= {"blade-actor": "sam", "x-request-id": "r-1"}.items()
        assert answer.headers["x-request-id"] == "r-1"

    def test_a_caller_without_a_name_is_known_by_its_address(self, rest, backend):
        answer = rest.get("/jobs/job-7")
        assert backend.asked[-1][2]["blade-peer"].startswith("127.0.0.1:")
        assert answer.headers["x-request-id"] == backend.asked[-1][2]["x-request-id"]


class TestAnswers:
    def test_zeros_are_written_and_absent_fields_are_not(self, rest, backend):
        backend.answers["GetJob"] = job_service_pb2.GetJobResponse(job=Job(job_id="job-1"))
        answer = rest.get("/jobs/job-1").json()
        assert answer["errorCount"] == 0
        assert "totalItems" not in answer

    def test_an_error_keeps_its_details(self, rest, backend, failing):
        backend.answers["GetJob"] = failing(
            grpc.StatusCode.NOT_FOUND,
            "no job has the id 'job-1'",
            error_details_pb2.ErrorInfo(reason="JOB_NOT_FOUND", domain="blade", metadata={"job_id": "job-1"}),
        )
        answer = rest.get("/jobs/job-1")
        assert answer.status_code == 404
        assert answer.json() == {
            "error": {
                "code": 404,
                "status": "NOT_FOUND",
                "message": "no job has the id 'job-1'",
                "details": [
                    {
                        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                        "reason": "JOB_NOT_FOUND",
                        "domain": "blade",
                        "metadata": {"job_id": "job-1"},
                    }
                ],
            }
        }

    @pytest.mark.parametrize(
        ("code", "http"),
        [
            ("INVALID_ARGUMENT", 400), ("FAILED_PRECONDITION", 400), ("ALREADY_EXISTS", 409), ("ABORTED", 409),
            ("RESOURCE_EXHAUSTED", 429), ("UNAVAILABLE", 503), ("DEADLINE_EXCEEDED", 504), ("DATA_LOSS", 500),
        ],
    )  # fmt: skip
    def test_every_code_has_its_http_code(self, rest, backend, failing, code, http):
        backend.answers["GetJob"] = failing(grpc.StatusCode[code], "no")
        answer = rest.get("/jobs/job-1")
        assert (answer.status_code, answer.json()["error"]["status"]) == (http, code)

    def test_a_wish_to_wait_becomes_a_header_rounded_up(self, rest, backend, failing):
        info = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
        backend.answers["StartQueryJob"] = failing(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many jobs", info)
        assert rest.post("/jobs/blade/query/start", {}).headers["retry-after"] == "2"

    def test_a_server_that_is_away_is_503(self, rest):
        rest.do(rest._server.stop(0))
        answer = rest.get("/jobs/job-1")
        assert (answer.status_code, answer.json()["error"]["status"]) == (503, "UNAVAILABLE")

    def test_reasons_are_written_by_name(self, rest, backend):
        error = job_pb2.ItemError(reason=error_reason_pb2.ERROR_REASON_DUPLICATE_ITEM_ID)
        backend.answers["ListItemErrors"] = job_service_pb2.ListItemErrorsResponse(errors=[error])
        assert rest.get("/jobs/job-1/errors").json()["errors"][0]["reason"] == "ERROR_REASON_DUPLICATE_ITEM_ID"
