"""Runs that read all rows and send what changed: after each the catalog is the table."""

from __future__ import annotations

from tests.support.syncs import counts

from blade_server.model import Status


def test_a_first_run_a_second_with_nothing_to_do_and_one_after_changes(make_sync_world):
    syncs = make_sync_world(300)
    first = syncs.run()
    assert (first.status, counts(first)) == (Status.COMPLETED, {"created": 300}), first
    syncs.check_equal()
    uploads = syncs.world.catalog.status()["uploads"]
    second = syncs.run()
    assert counts(second) == {"unchanged": 300}, second
    assert (second.success_count, second.skipped_count, second.total_items) == (0, 300, 300)
    assert syncs.world.catalog.status()["uploads"] == uploads
    syncs.sql("UPDATE {t} SET priority = 'CHANGED' WHERE number % 100 = 7")
    syncs.sql("DELETE FROM {t} WHERE number BETWEEN 20 AND 24")
    syncs.sql(
        "INSERT INTO {t} SELECT 'NEW-1', tail_number, priority, 1000, classification, last_modified FROM {t} LIMIT 1"
    )
    third = syncs.run()
    assert counts(third) == {"created": 1, "updated": 3, "unchanged": 292, "deleted": 5}, third
    syncs.check_equal()
    assert (syncs.state.known_items, syncs.state.dirty_items, syncs.state.generation) == (296, 0, 2)
    assert counts(syncs.run()) == {"unchanged": 296}
