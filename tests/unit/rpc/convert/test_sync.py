"""Syncs to messages and back, and what an update puts in the place of what."""

from __future__ import annotations

import pytest

from blade.v1.sync_pb2 import SyncSpec as SpecMessage
from blade_server.errors import Invalid
from blade_server.model import JobLimits
from blade_server.model.sync import (
    CatchUp,
    Cursor,
    Deletes,
    Guards,
    NullCursor,
    Overlap,
    Schedule,
    SyncRetry,
    SyncSpec,
)
from blade_server.model.sync_report import SyncMode
from blade_server.rpc.convert.masks import merge, set_fields
from blade_server.rpc.convert.sync import spec_from, spec_message

FULL = SyncSpec(
    source="parts",
    sql="SELECT 1",
    filter="a = 1",
    destination="other",
    mode=SyncMode.INCREMENTAL,
    cursor=Cursor(column="t", lag_s=1.5, full_every_s=7200, null_cursor=NullCursor.REJECT),
    schedule=Schedule(
        cron="* * * * *",
        time_zone="Europe/Berlin",
        every_s=10,
        jitter_s=0.25,
        overlap=Overlap.QUEUE_ONE,
        catch_up=CatchUp.LATEST,
        catch_up_window_s=60,
    ),
    deletes=Deletes.DELETE,
    guards=Guards(max_delete_share=0.5, max_deletes=0, confirm_runs=3, grace_s=5),
    adopt=True,
    scope="these",
    batch_size=7,
    workers=3,
    limits=JobLimits(items_per_second=2.5, max_errors=0, max_error_share=0.25),
    metadata={"a": "b"},
    classification="CUI",
    item_id="{a}",
    last_modified="",
    retry=SyncRetry(attempts=0, base_s=0.5),
    max_age_s=9,
    pause_after_failures=2,
    notifications=("one", "two"),
)


@pytest.mark.parametrize("spec", [SyncSpec(source="parts"), FULL], ids=["defaults", "all fields"])
def test_a_spec_comes_back_as_it_was(spec: SyncSpec) -> None:
    assert spec_from(spec_message(spec)) == spec
    assert spec_from(SpecMessage.FromString(spec_message(spec).SerializeToString())) == spec


def test_every_field_of_the_contract_is_in_the_example() -> None:
    assert set(set_fields(spec_message(FULL))) == set(SpecMessage.DESCRIPTOR.fields_by_name)


def test_what_is_left_out_is_the_default_and_0_is_not() -> None:
    assert spec_from(SpecMessage(source="parts")) == SyncSpec(source="parts")
    said = SpecMessage(source="parts", batch_size=0, guards={"confirm_runs": 0, "max_delete_share": 0})
    spec = spec_from(said)
    assert (spec.batch_size, spec.guards.confirm_runs, spec.guards.max_delete_share) == (0, 0, 0)


def test_a_choice_that_there_is_not_is_named() -> None:
    with pytest.raises(Invalid, match=r"sync.spec.mode: 9 is none of FULL, CHANGED"):
        spec_from(SpecMessage(source="parts", mode=9))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["batch_size"], {"batch_size": 9}),
        (["guards.max_deletes"], {"guards": Guards(max_delete_share=0.5, max_deletes=4, confirm_runs=3, grace_s=5)}),
        (["guards"], {"guards": Guards(max_deletes=4)}),
        (["cursor"], {"cursor": None}),
        (["workers", "last_modified"], {"workers": 0, "last_modified": None}),
        (["metadata", "notifications"], {"metadata": {"c": "d"}, "notifications": ()}),
        (["sql", "adopt"], {"sql": "", "adopt": False}),
        ([], {}),
    ],
)
def test_named_fields_take_the_place_of_the_stored_ones(paths: list[str], wanted: dict[str, object]) -> None:
    message, new = spec_message(FULL), SpecMessage(batch_size=9, guards={"max_deletes": 4}, metadata={"c": "d"})
    merge(message, new, paths, field="update_mask")
    assert spec_from(message) == SyncSpec(**{**vars(FULL), **wanted})


@pytest.mark.parametrize("path", ["none", "guards.none", "sql.length", "notifications.name", "metadata.a", ""])
def test_a_path_that_names_no_field_is_wrong(path: str) -> None:
    with pytest.raises(Invalid, match="update_mask"):
        merge(spec_message(FULL), SpecMessage(), [path], field="update_mask")
