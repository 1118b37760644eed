"""64-bit integers are numbers wherever they stand in a message, and nothing else is touched."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from blade.v1 import config_service_pb2, ingest_service_pb2, item_pb2, job_pb2, job_service_pb2, query_service_pb2
from blade_server.web.transcoder.json_form import to_dict

MODULES = (config_service_pb2, ingest_service_pb2, job_service_pb2, query_service_pb2)
ANSWERS = [
    method.output_type
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]
LARGE = 2**60


def is_message_of_ours(field: FieldDescriptor) -> bool:
    nested = field.message_type
    return nested is not None and nested.file.package == "blade.v1" and not nested.GetOptions().map_entry


def fill(message: Message) -> None:
    """Every field of the contract's own, however deep, with lists of two; the last of a oneof stays."""
    for field in message.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_INT64:
            setattr(message, field.name, LARGE)
        elif is_message_of_ours(field):
            value = getattr(message, field.name)
            for part in (value.add(), value.add()) if field.is_repeated else (value,):
                fill(part)
                part.SetInParent()


def expected(content: Any, message: Descriptor) -> int:
    """Checks that each 64-bit integer of the content is a number; how many there are."""
    found = 0
    for field in message.fields:
        for value in content.get(field.json_name, []) if field.is_repeated else [content.get(field.json_name)]:
            if field.type == FieldDescriptor.TYPE_INT64 and value is not None:
                assert value == LARGE, field.full_name
                found += 1
            elif value is not None and is_message_of_ours(field):
                found += expected(value, field.message_type)
    return found


@pytest.mark.parametrize("kind", ANSWERS, ids=[kind.name for kind in ANSWERS])
def test_every_64_bit_integer_of_an_answer_is_a_number(kind: Descriptor) -> None:
    message = GetMessageClass(kind)()
    fill(message)
    content = to_dict(message)
    assert expected(content, kind) == str(json_format.MessageToDict(message)).count(f"'{LARGE}'")
    assert json_format.ParseDict(content, GetMessageClass(kind)()) == message


def test_there_are_64_bit_integers_in_a_job() -> None:
    job = job_pb2.Job()
    fill(job)
    assert expected(to_dict(job), job_pb2.Job.DESCRIPTOR) >= 9


def test_what_looks_like_a_count_in_a_row_stays_as_it_is() -> None:
    item = item_pb2.Item(item_id="1", metadata={"totalItems": "7"})
    item.data.update({"totalItems": "7", "revision": str(LARGE)})
    content = to_dict(item)
    assert (content["data"], content["metadata"]) == ({"totalItems": "7", "revision": str(LARGE)}, {"totalItems": "7"})


def test_zero_is_written_and_unknown_is_not() -> None:
    content = to_dict(job_pb2.Job())
    assert content["processedItems"] == content["revision"] == 0
    assert "totalItems" not in content
