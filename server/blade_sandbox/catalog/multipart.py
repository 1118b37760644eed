"""Splits a multipart/form-data body that is all in memory.

Written for batches of some hundred small parts: the body is cut by one `bytes.split`, and a header block that was
seen before (most are) costs one look-up.
"""

from __future__ import annotations

import re
from email.parser import BytesHeaderParser
from functools import lru_cache
from typing import NamedTuple

_BOUNDARY = re.compile(r'boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_MAX_HEAD_BYTES = 8192


class Malformed(ValueError):
    """The body is not what its Content-Type says; the message says where."""


class Part(NamedTuple):
    """One field of the form."""

    name: str
    content: bytes


def boundary_of(content_type: str) -> bytes:
    """The boundary of a multipart/form-data header; raises Malformed for any other type."""
    if content_type.split(";", 1)[0].strip().lower() != "multipart/form-data":
        raise Malformed(f"Content-Type is {content_type[:100]!r}; send multipart/form-data")
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise Malformed("Content-Type multipart/form-data has no boundary")
    return (match[1] or match[2]).encode("latin-1")


def split(body: bytes, boundary: bytes) -> list[Part]:
    """The parts in their order; raises Malformed."""
    opening = b"--" + boundary
    if not body.startswith(opening):
        body = b"\r\n" + body  # a preamble is allowed: then the first delimiter stands at the start of a later line
    first, *segments = body.split(b"\r\n" + opening)
    if first.startswith(opening):
        segments.insert(0, first[len(opening) :])
    if not segments or not segments[-1].startswith(b"--"):
        raise Malformed("the form does not end with its closing boundary; it was cut off")
    return [_part(segment, number) for number, segment in enumerate(segments[:-1], 1)]


def _part(segment: bytes, number: int) -> Part:
    end = segment.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)
    if end < 0:
        raise Malformed(f"part {number} has no end of its headers")
    name = _name(segment[:end])
    if name is None:
        raise Malformed(f"part {number} has no form-data name")
    return Part(name, segment[end + 4 :])


@lru_cache(maxsize=256)
def _name(head: bytes) -> str | None:
    padding, _, lines = head.partition(b"\r\n")
    if padding.strip(b" \t"):
        return None
    headers = BytesHeaderParser().parsebytes(lines + b"\r\n\r\n")
    if headers.get_content_disposition() != "form-data":
        return None
    name = headers.get_param("name", header="content-disposition")
    return name if isinstance(name, str) else None
