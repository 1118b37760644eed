from __future__ import annotations

import re
from importlib import resources

import orjson
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from blade.v1 import (
    access_pb2,
    access_service_pb2,
    audit_service_pb2,
    config_service_pb2,
    cost_pb2,
    destination_pb2,
    destination_service_pb2,
    error_reason_pb2,
    ingest_service_pb2,
    item_pb2,
    job_pb2,
    job_service_pb2,
    notification_pb2,
    notification_service_pb2,
    query_service_pb2,
    source_pb2,
    sync_pb2,
    sync_report_pb2,
    sync_service_pb2,
)
from blade_server.web.openapi import document
from blade_server.web.openapi.bounds import BOUNDS
from blade_server.web.transcoder.rules import rules_of

SERVICES = (
    config_service_pb2,
    destination_service_pb2,
    query_service_pb2,
    ingest_service_pb2,
    job_service_pb2,
    access_service_pb2,
    audit_service_pb2,
    sync_service_pb2,
    notification_service_pb2,
)
MODULES = (
    *SERVICES,
    access_pb2,
    cost_pb2,
    destination_pb2,
    notification_pb2,
    error_reason_pb2,
    item_pb2,
    job_pb2,
    source_pb2,
    sync_pb2,
    sync_report_pb2,
)


@pytest.fixture(scope="module")
def rules():
    return rules_of(service for module in SERVICES for service in module.DESCRIPTOR.services_by_name.values())


@pytest.fixture(scope="module")
def api(rules):
    return orjson.loads(document(rules))


def operations(api):
    return [operation for verbs in api["paths"].values() for operation in verbs.values()]


def test_the_comments_are_those_of_the_contract_that_the_stubs_were_made_from():
    """If this fails, run `make generate`."""
    kept = FileDescriptorSet.FromString(resources.files("blade.v1").joinpath("contract.binpb").read_bytes())
    for file in kept.file:
        file.ClearField("source_code_info")
        for option in file.extension:
            option.ClearField("json_name")
        for message in file.message_type:
            clear_json_names(message)
    made = {module.DESCRIPTOR.name: FileDescriptorProto() for module in MODULES}
    for module in MODULES:
        module.DESCRIPTOR.CopyToProto(made[module.DESCRIPTOR.name])
        for message in made[module.DESCRIPTOR.name].message_type:
            clear_json_names(message)
    assert {file.name: file for file in kept.file} == made


def clear_json_names(message):
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        clear_json_names(nested)


def test_every_rule_is_one_operation_with_its_own_id(api, rules):
    ids = [operation["operationId"] for operation in operations(api)]
    assert len(ids) == len(set(ids)) == len(rules)


def test_no_two_paths_differ_only_in_names(api):
    shapes = [re.sub(r"\{[^}]+\}", "*", path) for path in api["paths"]]
    assert len(shapes) == len(set(shapes))


def test_path_parameters_are_those_of_the_path(api):
    for path, verbs in api["paths"].items():
        for operation in verbs.values():
            named = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"]
            assert named == re.findall(r"\{([^}]+)\}", path)


def test_every_reference_leads_somewhere(api):
    references = set(re.findall(r'"#/components/schemas/([^"]+)"', orjson.dumps(api).decode()))
    assert references
    assert references <= set(api["components"]["schemas"])


def test_everything_has_a_description_from_the_contract(api):
    assert all(operation["description"] for operation in operations(api))
    assert (
        "Upload rate of about the last 10 seconds"
        in api["components"]["schemas"]["Job"]["properties"]["itemsPerSecond"]["description"]
    )
    for schema in api["components"]["schemas"].values():
        assert schema.get("description"), schema


def test_what_the_path_binds_is_not_asked_for_again(api):
    pause = api["paths"]["/jobs/{job_id}:pause"]["post"]
    assert list(pause["requestBody"]["content"]["application/json"]["schema"]["properties"]) == ["reason"]
    query = [parameter["name"] for parameter in api["paths"]["/blade/{data_type}"]["get"]["parameters"]]
    assert query.count("data_type") == 1
    assert "dataType" not in query


def test_starting_a_job_is_202_and_streams_have_three_forms(api):
    assert next(iter(api["paths"]["/jobs/blade/query/start"]["post"]["responses"])) == "202"
    content = api["paths"]["/jobs/{job_id}:watch"]["get"]["responses"]["200"]["content"]
    assert list(content) == ["application/json", "application/x-ndjson", "text/event-stream"]


def test_every_operation_lists_its_errors(api):
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for operation in operations(api):
        answers = operation["responses"]
        assert {"400", "5XX", "default"} <= set(answers)
        assert all(answer["content"] == error for code, answer in answers.items() if code[0] in "45d")
    codes = {operation["operationId"]: set(operation["responses"]) for operation in operations(api)}
    assert {"404", "409"} <= codes["ConfigService_UpdateSource"]
    assert {"404", "429"} <= codes["JobService_StartQueryJob"]
    assert "404" not in codes["JobService_ListJobs"]
    assert "FAILED_PRECONDITION is 400" in api["info"]["description"]


def test_every_bound_is_of_a_field_and_shown(api):
    files = [module.DESCRIPTOR for module in MODULES]
    messages = {name: message for file in files for name, message in file.message_types_by_name.items()}
    for owner, name in (field.split(".") for field in BOUNDS):
        assert name in messages[owner].fields_by_name, f"{owner}.{name}"
    body = api["paths"]["/jobs/blade/query/start"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    fields = body["properties"]
    assert (fields["batchSize"]["minimum"], fields["batchSize"]["maximum"]) == (1, 1000)
    assert fields["itemsPerSecond"]["exclusiveMinimum"] == 0
    assert fields["requestId"]["maxLength"] == 128
    assert api["components"]["schemas"]["Source"]["properties"]["name"]["pattern"] == "^[a-z][a-z0-9-]{0,62}$"
    [path] = [
        path for path, verbs in api["paths"].items() if "AddSource" in verbs.get("post", {}).get("operationId", "")
    ]
    added = api["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert added["allOf"][1]["required"] == ["name", "config"]
    query = api["paths"]["/jobs/blade/query/status"]["get"]["parameters"]
    assert [one["required"] for one in query if one["name"] == "id"] == [True]


def test_rows_as_plain_json_are_one_object(api):
    content = api["paths"]["/blade/{data_type}"]["get"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/QueryItemsResponse"}


def test_counts_are_integers_of_64_bits(api):
    schemas = api["components"]["schemas"]
    for owner, name in (("Job", "totalItems"), ("Job", "bytesUploaded"), ("ErrorSummary", "count")):
        shown = schemas[owner]["properties"][name]
        assert (shown["type"], shown["format"]) == ("integer", "int64")


def test_who_may_call_what_is_said(api):
    assert api["security"] == [{"token": []}, {"session": []}]
    assert set(api["components"]["securitySchemes"]) == {"token", "session"}
    described = {operation["operationId"]: operation for operation in operations(api)}
    start, who = described["JobService_StartQueryJob"], described["AccessService_WhoAmI"]
    assert [name for name, each in described.items() if each.get("security") == []] == ["AccessService_GetSignIn"]
    assert start["description"].endswith("Needs the role OPERATOR on the source.")
    assert {"401", "403"} <= set(start["responses"])
    assert described["AccessService_CreateToken"]["description"].endswith(
        "Needs the role ADMIN on the server as a whole."
    )
    assert "Needs" not in who["description"]
    assert "403" not in who["responses"]
