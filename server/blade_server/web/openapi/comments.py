"""The comments of the contract. Stubs have none, so `make generate` also writes a descriptor set that keeps them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

_SENTENCE_END = re.compile(r"(?<=[.?!])\s")


def comments() -> Mapping[str, str]:
    """Full names of messages, fields, enums, values, services and methods, and what the contract says of them."""
    contract = FileDescriptorSet.FromString(resources.files("blade.v1").joinpath("contract.binpb").read_bytes())
    return {name: text for file in contract.file for name, text in _of_file(file)}


def first_sentence(text: str) -> str:
    """What a list shows of a comment."""
    return _SENTENCE_END.split(text, maxsplit=1)[0]


def _of_file(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        text = " ".join(location.leading_comments.split())
        if text:
            yield _name(file, location.path), text


def _name(file: FileDescriptorProto, path: Any) -> str:
    """A path is (field number, index) pairs from the file down, as descriptor.proto explains at SourceCodeInfo."""
    node: Any = file
    name = file.package
    for number, index in zip(path[::2], path[1::2], strict=False):
        node = getattr(node, node.DESCRIPTOR.fields_by_number[number].name)[index]
        name += "." + node.name if hasattr(node, "name") else ""
    return name
