"""Sources: tested before they are stored, changed under an etag, found by name or data type."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.integration.core.conftest import TOKEN
from tests.support.access import AsTester, called
from tests.support.timing import assert_within, seconds

from blade_server.app.policies import source_policy
from blade_server.core.sources.connection_test import try_connection
from blade_server.core.sources.sources import Sources
from blade_server.errors import (
    AlreadyExists,
    Conflict,
    ConnectionTestFailed,
    Invalid,
    NotFound,
    Precondition,
    Reason,
)
from blade_server.model import SOURCE_STEPS, Classification, StepKind, StepOutcome


def failed_step(caught) -> tuple[StepKind, str]:
    [step] = [step for step in caught.value.steps if step.outcome is StepOutcome.FAILED]
    assert caught.value.metadata["step"] == step.kind
    return step.kind, step.message


class TestAdd:
    def test_a_source_is_tested_in_seven_steps_and_stored_with_its_defaults(self, sources, source):
        tested = sources.add(source())
        stored, steps = tested.source, tested.steps
        assert [step.kind for step in steps] == list(SOURCE_STEPS)
        assert all(step.outcome is StepOutcome.PASSED and step.message for step in steps)
        assert "MAINT-AF-" in steps[-1].message
        assert stored.display_name == "blade-maintenance"
        assert stored.mapping.last_modified == "last_modified"
        assert stored.mapping.classification == Classification(column="classification")
        assert stored.etag
        assert sources.get("blade-maintenance") == stored

    def test_validate_only_stores_nothing(self, sources, source):
        tested = sources.add(source(), validate_only=True)
        checked, steps = tested.source, tested.steps
        assert checked.mapping.last_modified == "last_modified"
        assert len(steps) == 7
        with pytest.raises(NotFound):
            sources.get("blade-maintenance")

    def test_a_table_without_last_modified_leaves_the_mapping_without(self, sources, source):
        tested = sources.add(source("empty", "none", table="empty"))
        stored, steps = tested.source, tested.steps
        assert stored.mapping.last_modified == ""
        assert stored.mapping.item_id == "item_id"
        assert steps[-1].message == "the table is empty"

    def test_an_odd_first_row_does_not_keep_a_source_out(self, sources, source):
        steps = sources.add(source("odd", "odd", table="odd")).steps
        assert steps[-1].outcome is StepOutcome.PASSED
        assert "would be rejected" in steps[-1].message

    @pytest.mark.parametrize(
        ("config", "step", "words"),
        [
            ({"warehouse_id": "nope"}, StepKind.WAREHOUSE, "nope"),
            ({"table": "nothing"}, StepKind.TABLE, "TABLE_OR_VIEW_NOT_FOUND"),
            ({"schema": "nothing"}, StepKind.TABLE, "nothing"),
            ({"item_id": "X-{tial_number}"}, StepKind.COLUMNS, "tail_number"),
            ({"item_id": "{cost:%Y}"}, StepKind.COLUMNS, "cost"),
        ],
    )
    def test_a_failed_step_stores_nothing_and_says_what_and_which(self, sources, source, config, step, words):
        with pytest.raises(ConnectionTestFailed) as caught:
            sources.add(source(**config))
        kind, message = failed_step(caught)
        assert kind is step
        assert words in message
        assert [s.outcome for s in caught.value.steps[list(SOURCE_STEPS).index(step) + 1 :]] == [
            StepOutcome.NOT_RUN
        ] * (6 - list(SOURCE_STEPS).index(step))
        with pytest.raises(NotFound):
            sources.get("blade-maintenance")

    def test_a_wrong_token_fails_at_authenticate_and_is_not_shown(self, make_settings, store, source, recorder):
        settings = make_settings(databricks_token="wrong-token-value")
        with pytest.raises(ConnectionTestFailed) as caught:
            Sources(source_policy(settings), store, recorder).add(source(), by=called())
        assert failed_step(caught)[0] is StepKind.AUTHENTICATE
        assert "wrong-token-value" not in str(caught.value) + str(caught.value.steps)

    def test_a_name_that_is_taken_is_refused_without_asking_the_warehouse(self, sources, source, sandbox):
        sources.add(source())
        before = sandbox._service.statements
        with pytest.raises(AlreadyExists):
            sources.add(source())
        assert sandbox._service.statements == before

    def test_a_repeated_call_answers_as_the_first_did(self, sources, source):
        first = sources.add(source(), request_id="r1").source
        again = sources.add(source(), request_id="r1").source
        assert again == first
        with pytest.raises(Invalid) as caught:
            sources.add(source(table="odd"), request_id="r1")
        assert caught.value.reason is Reason.REQUEST_ID_REUSED

    def test_every_wrong_field_is_named(self, sources, source):
        wrong = source("Bad Name", "Bad Type", table="", schema="x\0y", items_per_second=-1.0, max_running_jobs=-1)
        mapping = replace(
            wrong.mapping,
            item_id="{a",
            classification=Classification(value="TOP BANANA"),
            metadata={"k": "v" * 201, "": "x"},
        )
        with pytest.raises(Invalid) as caught:
            sources.add(replace(wrong, display_name="d" * 201, mapping=mapping))
        assert {violation.field for violation in caught.value.violations} == {
            "source.name",
            "source.data_type",
            "source.display_name",
            "source.config.table",
            "source.config.schema",
            "source.config.items_per_second",
            "source.config.max_running_jobs",
            "source.mapping.item_id",
            "source.mapping.classification.value",
            "source.mapping.metadata",
        }

    def test_a_host_that_is_not_allowed_is_refused_before_anything_is_sent(self, sources, source):
        with pytest.raises(Invalid) as caught:
            sources.add(source(host="evil.example.com", credentials="env:DATABRICKS_TOKEN"))
        assert caught.value.violations[0].field in ("source.config.host", "source.config.credentials")


class TestCredentials:
    """Where a secret may go is the operator's to say; sources that are there already go on."""

    @pytest.fixture
    def with_secret(self, monkeypatch, make_settings, store, recorder):
        monkeypatch.setenv("BLADE_SECRET_TEAM", TOKEN)
        monkeypatch.setenv("BLADE_SECRET_OTHER", TOKEN)

        def make(bound: str = "") -> AsTester:
            return AsTester(Sources(source_policy(make_settings(allowed_warehouse_hosts=bound)), store, recorder))

        return make

    @pytest.fixture
    def named(self, source, sandbox):
        return source(credentials="env:BLADE_SECRET_TEAM", host=sandbox.url, warehouse_id="sandbox")

    def test_what_is_bound_to_the_host_is_sent_there(self, with_secret, named, sandbox):
        bound = with_secret(f"{sandbox.url}=env:BLADE_SECRET_TEAM")
        assert bound.add(named).source.config.credentials == "env:BLADE_SECRET_TEAM"
        assert all(step.outcome is StepOutcome.PASSED for step in bound.test("blade-maintenance").steps)

    @pytest.mark.parametrize("bound", ["", "{url}", "{url}=env:BLADE_SECRET_OTHER"])
    def test_what_is_not_is_not_sent(self, with_secret, named, sandbox, bound):
        sources = with_secret(bound.format(url=sandbox.url))
        for wanted in (named, replace(named, config=replace(named.config, host=""))):
            with pytest.raises(Invalid, match="leads to no secret that may be sent") as caught:
                sources.add(wanted)
            assert caught.value.violations[0].field == "source.config.credentials"

    def test_a_host_alone_keeps_what_sources_name_and_takes_nothing_new(self, with_secret, named, sandbox):
        with_secret(f"{sandbox.url}=env:BLADE_SECRET_TEAM").add(named)
        alone = with_secret(sandbox.url)
        assert all(step.outcome is StepOutcome.PASSED for step in alone.test("blade-maintenance").steps)
        alone.update(replace(named, display_name="M"), {"display_name", "config.credentials", "config.host"})
        alone.add(replace(named, name="twin"))
        other = replace(named, config=replace(named.config, credentials="env:BLADE_SECRET_OTHER"))
        with pytest.raises(Invalid, match="leads to no secret"):
            alone.update(other, {"config.credentials"})
        with pytest.raises(Invalid, match="leads to no secret"):
            alone.add(replace(other, name="third"))

    def test_one_that_is_bound_elsewhere_now_is_sent_no_longer(self, with_secret, named, sandbox):
        with_secret(f"{sandbox.url}=env:BLADE_SECRET_TEAM").add(named)
        moved = with_secret(f"{sandbox.url}=env:BLADE_SECRET_OTHER,a.test=env:BLADE_SECRET_TEAM")
        with pytest.raises(Invalid, match="leads to no secret"):
            moved.test("blade-maintenance")


class TestTimeLimit:
    def test_a_slow_warehouse_fails_the_step_that_is_under_way(self, settings, source, sandbox):
        sandbox.faults.set({"slow_execute_ms": 20_000})
        tested = None

        def attempt() -> None:
            nonlocal tested
            tested = try_connection(source_policy(settings), source(), timeout_s=1.0)

        assert_within(3.0, lambda: seconds(attempt))
        assert tested is not None
        assert [step.outcome for step in tested.steps] == [StepOutcome.PASSED] * 4 + [StepOutcome.FAILED] + [
            StepOutcome.NOT_RUN
        ] * 2
        assert "1 s" in tested.steps[4].message


class TestList:
    def test_pages_go_on_where_the_last_one_ended(self, sources, source):
        for number in range(5):
            sources.add(source(f"s{number}", "even" if number % 2 == 0 else "odd"))
        names, token = [], ""
        while True:
            page, token = sources.list(page_size=2, page_token=token)
            names += [found.name for found in page]
            if not token:
                break
        assert names == ["s0", "s1", "s2", "s3", "s4"]
        assert [found.name for found in sources.list(data_type="even")[0]] == ["s0", "s2", "s4"]

    def test_a_token_of_another_list_is_refused(self, sources, source):
        for number in range(2):
            sources.add(source(f"s{number}", "x"))
        _, token = sources.list(page_size=1)
        for bad in (token[:-1], "nonsense!", "AAAA"):
            with pytest.raises(Invalid, match="page_token"):
                sources.list(page_token=bad)
        with pytest.raises(Invalid, match="page_token"):
            sources.list(page_token=token, data_type="x")

    @pytest.mark.parametrize("size", [0, -1, 1001, 10_000_000])
    def test_a_page_size_out_of_range_is_refused(self, sources, size):
        with pytest.raises(Invalid, match="page_size"):
            sources.list(page_size=size)


class TestUpdate:
    def test_only_the_named_fields_change(self, sources, source):
        stored = sources.add(source()).source
        changed = replace(
            stored, display_name="New", enabled=False, config=replace(stored.config, table="odd"), etag=""
        )
        updated = sources.update(changed, {"display_name"}).source
        assert updated.display_name == "New"
        assert updated.enabled
        assert updated.config == stored.config
        assert updated.etag != stored.etag

    def test_a_stale_etag_is_a_conflict(self, sources, source):
        stored = sources.add(source()).source
        sources.update(replace(stored, display_name="A"), {"display_name"})
        with pytest.raises(Conflict):
            sources.update(replace(stored, display_name="B"), {"display_name"})

    def test_a_change_of_the_table_is_tested_first(self, sources, source):
        stored = sources.add(source()).source
        broken = replace(stored, config=replace(stored.config, table="nothing"))
        with pytest.raises(ConnectionTestFailed):
            sources.update(broken, {"config.table"})
        assert sources.get(stored.name) == stored

    def test_limits_and_the_switch_change_without_a_test(self, sources, source, sandbox):
        stored = sources.add(source()).source
        before = sandbox._service.statements
        changed = replace(stored, enabled=False, config=replace(stored.config, items_per_second=5.0))
        tested = sources.update(changed, {"enabled", "config.items_per_second"})
        updated = tested.source
        assert tested.item_ids is None
        assert not updated.enabled
        assert updated.config.items_per_second == 5.0
        assert sandbox._service.statements == before

    def test_whole_messages_can_be_named(self, sources, source):
        stored = sources.add(source()).source
        new = replace(stored.mapping, item_id="tail_number", metadata={"base": "Nellis"})
        assert sources.update(replace(stored, mapping=new), {"mapping"}).source.mapping == new

    def test_the_item_ids_that_were_counted_are_told(self, sources, source):
        stored = sources.add(source()).source
        new = replace(stored.mapping, item_id="{priority}")
        tested = sources.update(replace(stored, mapping=new), {"mapping.item_id"})
        assert tested.item_ids == sources.test(stored.name).item_ids
        assert tested.item_ids.message.startswith("2,997 of 3,000 rows share their id with another")

    @pytest.mark.parametrize("field", ["name", "stats", "nonsense", "config.nonsense", ""])
    def test_other_fields_cannot_change(self, sources, source, field):
        stored = sources.add(source()).source
        with pytest.raises(Invalid, match="update_mask"):
            sources.update(stored, {field})


class TestFind:
    def test_by_data_type_or_name(self, sources, source):
        stored = sources.add(source()).source
        assert sources.find("maintenance") == stored
        assert sources.find("", "blade-maintenance") == stored
        assert sources.find("maintenance", "blade-maintenance") == stored

    def test_what_is_not_there_is_not_found(self, sources):
        for arguments in (("nothing",), ("", "nothing")):
            with pytest.raises(NotFound) as caught:
                sources.find(*arguments)
            assert caught.value.reason is Reason.SOURCE_NOT_FOUND

    def test_two_of_a_data_type_need_a_name_unless_one_is_off(self, sources, source):
        sources.add(source("a"))
        stored = sources.add(source("b")).source
        with pytest.raises(Invalid) as caught:
            sources.find("maintenance")
        assert caught.value.reason is Reason.SOURCE_AMBIGUOUS
        sources.update(replace(stored, enabled=False), {"enabled"})
        assert sources.find("maintenance").name == "a"

    def test_a_source_that_is_off_says_so(self, sources, source):
        stored = sources.add(source()).source
        sources.update(replace(stored, enabled=False), {"enabled"})
        with pytest.raises(Precondition) as caught:
            sources.find("maintenance")
        assert caught.value.reason is Reason.SOURCE_DISABLED

    def test_a_name_of_another_data_type_is_refused(self, sources, source):
        sources.add(source())
        with pytest.raises(Invalid, match="data_type"):
            sources.find("sortie", "blade-maintenance")


def test_a_stored_source_can_be_tested_and_removed(sources, source):
    sources.add(source())
    assert all(step.outcome is StepOutcome.PASSED for step in sources.test("blade-maintenance").steps)
    with pytest.raises(Conflict):
        sources.remove("blade-maintenance", "wrong")
    sources.remove("blade-maintenance", "")
    with pytest.raises(NotFound):
        sources.remove("blade-maintenance", "")
