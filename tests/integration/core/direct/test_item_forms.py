"""What values look like in an item: the table of docs/items.md, run line by line."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import SecretStr
from tests.support.paths import ROOT

from blade_server.core.transform.transform import Transform
from blade_server.model import Classification, RowMapping, Source, SourceConfig
from blade_server.warehouse import Target, Warehouse

LINES = re.findall(r"^\| (.+?) \| `(.+)` \| `(.+)` \|$", (ROOT / "docs" / "items.md").read_text("utf-8"), re.MULTILINE)


def test_the_table_is_read() -> None:
    assert len(LINES) > 15


@pytest.mark.parametrize(("example", "form"), [line[1:] for line in LINES], ids=[line[0] for line in LINES])
def test_a_value_is_in_the_item_as_the_page_says(sandbox: Any, example: str, form: str) -> None:
    source = Source(
        name="s",
        display_name="",
        data_type="t",
        enabled=True,
        config=SourceConfig(catalog="c", schema="s", table="t"),
        mapping=RowMapping(item_id="id", classification=Classification(value="UNCLASS")),
    )
    target = Target(host=sandbox.url, http_path=sandbox.http_path, token=SecretStr(sandbox.token))
    with Warehouse(target) as warehouse:
        result = warehouse.execute(f"SELECT 1 AS id, {example} AS x")
        transform = Transform(source, result.schema, known_classifications=("UNCLASS",), metadata={})
        (item,) = transform.all(result).items
    assert item.data_json.decode() == f'{{"id":1,"x":{form}}}'
