"""Ids of jobs, and fingerprints of the requests that make them."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from hashlib import blake2b

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32: sorts as the numbers do."""


def new_job_id() -> str:
    """`job-` and 20 characters: 48 bits of milliseconds, then 52 random ones. Ids sort by time."""
    number = (time.time_ns() // 1_000_000) << 52 | secrets.randbits(52)
    return "job-" + "".join(ALPHABET[number >> shift & 31] for shift in range(95, -1, -5))


def fingerprint(body: Mapping[str, object]) -> str:
    """The same for two requests that ask for the same."""
    return blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()
