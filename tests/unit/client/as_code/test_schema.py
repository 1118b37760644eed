"""The published schema is that of the contract, and says of documents what `apply` says."""

from __future__ import annotations

import json

import pytest
import yaml
from tests.support.paths import ROOT

from blade_client.as_code.schema import schema

DOCUMENT = {"kind": "sync", "name": "keep", "spec": {"source": "parts", "mode": "CHANGED", "maxAge": "1h30m"}}


def test_the_published_schema_is_the_contract_s() -> None:
    published = json.loads((ROOT / "docs" / "schema" / "blade.schema.json").read_text("utf-8"))
    assert published == schema(), "write it anew: blade schema > docs/schema/blade.schema.json"


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({}, True),
        ({"deletez": "KEEP"}, False),
        ({"mode": "ALL"}, False),
        ({"guards": {"maxDeletes": "many"}}, False),
        ({"maxAge": "15"}, False),
    ],
)
def test_it_takes_what_apply_takes(spec, fits) -> None:
    jsonschema = pytest.importorskip("jsonschema_rs")
    document = {**DOCUMENT, "spec": {**DOCUMENT["spec"], **spec}}
    assert jsonschema.Draft202012Validator(schema()).is_valid(document) is fits


def test_the_example_of_the_page_fits() -> None:
    jsonschema = pytest.importorskip("jsonschema_rs")
    page = (ROOT / "docs" / "as-code.md").read_text("utf-8")
    text = page.partition("```yaml\n")[2].partition("```")[0]
    documents = list(yaml.safe_load_all(text))
    assert {each["kind"] for each in documents} == {"source", "destination", "notification", "sync"}
    for each in documents:
        jsonschema.Draft202012Validator(schema()).validate(each)
