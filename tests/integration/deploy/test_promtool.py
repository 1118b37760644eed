"""What Prometheus' own tool says of deploy/prometheus."""

from __future__ import annotations

import subprocess

import pytest
from tests.support.programs import program
from tests.support.watching import PROMETHEUS


def promtool(words: str) -> None:
    command = [program("promtool", "prometheus"), *words.split()]
    done = subprocess.run(command, cwd=PROMETHEUS, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_and_the_example_are_well_formed() -> None:
    promtool("check rules rules.yml")
    promtool("check config --syntax-only prometheus.yml")


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_not_otherwise() -> None:
    promtool("test rules rules_test.yml")
