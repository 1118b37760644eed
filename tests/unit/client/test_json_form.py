from __future__ import annotations

import json

from google.protobuf.json_format import ParseDict

from blade.v1.config_service_pb2 import ListSourcesResponse
from blade.v1.job_pb2 import Job
from blade_client import to_dict

PROGRESS = """
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


def test_a_job_has_the_names_and_types_of_the_customers_progress() -> None:
    progress = json.loads(PROGRESS)
    assert to_dict(ParseDict(progress, Job())).items() >= progress.items()


def test_counts_deep_in_a_message_are_numbers_too() -> None:
    answer = ListSourcesResponse()
    answer.sources.add(name="s").stats.item_count = 2**40
    assert to_dict(answer)["sources"][0]["stats"]["itemCount"] == 2**40


def test_the_cli_prints_the_same(server, run, make_job) -> None:
    server.on("GetJob", lambda request, context: answer(make_job(2**40)))
    shown = json.loads(run("job", "show", "job-1", "--json").stdout)
    assert (shown["processedItems"], shown["revision"], shown["errorCount"]) == (2**40, 2**40, 0)


def answer(job):
    from blade.v1.job_service_pb2 import GetJobResponse

    return GetJobResponse(job=job)
