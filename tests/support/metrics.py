"""The metrics of a server as a scrape of its admin port has them, and a job that leaves some at once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import psycopg2
import requests
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 60.0
_UNREADABLE = """
    INSERT INTO job (job_id, source, source_json, spec, status, plan, create_time, update_time)
    VALUES (%s, 'parts', '{}', '{}', 'PENDING', '{}', now(), now())
"""
UNREADABLE_ENDED = {"name": "blade_jobs_ended_total", "source": "parts", "status": "FAILED"}
"""What counts those jobs."""


class Scrape:
    """`scrape(name, **labels)`: a value; None: there is none."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        """Of the server whose ready line said that."""
        url = f"http://{said['admin_host']}:{said['admin_port']}/metrics"
        text = requests.get(url, timeout=TIMEOUT_S).text
        self.values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.values.get((name, frozenset(labels.items())))


def store_unreadable_job(database_url: str, job_id: str) -> None:
    """Whoever claims it ends it as FAILED, without a warehouse or a catalog."""
    with closing(psycopg2.connect(database_url.replace("+psycopg2", ""))) as connection:
        connection.autocommit = True
        connection.cursor().execute(_UNREADABLE, (job_id,))
