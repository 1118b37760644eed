"""The upload of one batch, told apart by places, against a catalog that fails on cue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from blade_server.arrow.items import Items
from blade_server.catalog import Capabilities, Refusal, Uploaded, encode
from blade_server.core.engine.batches import Batch, Report
from blade_server.core.engine.halt import Control
from blade_server.core.engine.ledger import Mark, item_key
from blade_server.core.engine.upload.outage import Outage
from blade_server.core.engine.upload.send_batch import SendTools, send_batch
from blade_server.errors import CatalogRejected, CatalogUnavailable
from blade_server.model import Item
from blade_server.model.policy import RetryPolicy


class Cued:
    """A catalog whose answers are `answer`'s; it keeps what it took."""

    def __init__(self, answer: Callable[[list[str]], Uploaded], *, most: int = 100) -> None:
        self.answer = answer
        self.can = Capabilities(max_batch_items=most)
        self.well = True
        self.there: Counter[str] = Counter()

    def capabilities(self) -> Capabilities:
        return self.can

    def probe(self) -> None:
        if not self.well:
            self.well = True
            self.can = Capabilities(max_batch_items=100)
            raise CatalogUnavailable("down")

    def stored(self, _data_source: str, items: Items) -> set[str]:
        return {item_id for item_id in items.item_ids if item_id in self.there}

    def existing(self, _data_source: str, item_ids: list[str]) -> set[str]:
        return {item_id for item_id in item_ids if item_id in self.there}

    def upload(self, encoded: Any, *, scope: str, before_request: Callable[[], object]) -> Uploaded:
        before_request()
        ids = encoded.items.item_ids
        uploaded = self.answer(ids)
        self.there.update(item_id for at, item_id in enumerate(ids) if at not in uploaded.refused)
        return uploaded


class Free:
    """No limit, as pace and as throttle."""

    largest = None

    def wait(self, _items: int, _control: Control) -> None: ...
    def sent(self, _items: int) -> None: ...


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr("blade_server.core.engine.upload.outage.PROBE_S", (0.01, 0.01))


def sent(catalog: Cued, count: int, *, uncertain: tuple[int, ...] = (), skip: bool = False) -> list[Report]:
    """The reports over a batch of items `i0`, `i1` ... until something has become of each."""
    free: Any = Free()
    anything: Any = catalog
    tools = SendTools(
        catalog=anything,
        control=Control(float("inf")),
        pace=free,
        throttle=free,
        outage=Outage(60.0),
        retry=RetryPolicy(attempts=0, base_s=0.01),
        data_source="d",
        scope="",
        skip_existing=skip,
    )
    items = Items.of([Item(f"i{number}", "t", b"{}", "UNCLASS", None, {}) for number in range(count)])
    keys = [item_key(item.item_id) for item in items]
    batch = Batch(0, keys, encode("d", items), uncertain=uncertain)
    reports = list(send_batch(batch, tools))
    assert not batch.open
    return reports


def outcomes(reports: list[Report]) -> list[tuple[int, Mark]]:
    """Sorted."""
    return sorted((at, report.mark) for report in reports for at in report.places)


def test_an_answer_counts_for_the_items_it_is_about_after_suspects_were_put_last():
    def answer(ids: list[str]) -> Uploaded:
        if len(ids) > 1:
            return Uploaded({ids.index("i2"): Refusal("no")})
        catalog.well = ids == ["i0"]
        raise CatalogUnavailable("failed")

    catalog = Cued(answer, most=1)  # until it was down, which takes the suspicion from i0
    assert outcomes(sent(catalog, 4)) == [(0, Mark.SUCCESS), (1, Mark.SUCCESS), (2, Mark.ERROR), (3, Mark.SUCCESS)]
    assert catalog.there == Counter(["i0", "i1", "i3"])


@pytest.mark.parametrize(("skip", "mark"), [(False, Mark.SUCCESS), (True, Mark.SKIPPED)])
def test_what_was_found_stored_is_not_sent_again_where_the_rest_is_rejected(skip, mark):
    def answer(ids: list[str]) -> Uploaded:
        if "i2" in ids:
            raise CatalogRejected("no")
        return Uploaded()

    catalog = Cued(answer)
    catalog.there.update(["i0"])
    reports = sent(catalog, 3, uncertain=() if skip else (0,), skip=skip)
    assert outcomes(reports) == [(0, mark), (1, Mark.SUCCESS), (2, Mark.ERROR)]
    assert catalog.there == Counter(["i0", "i1"])
