"""What differs between a file and a server."""

from __future__ import annotations

from blade.v1.source_pb2 import Source
from blade.v1.sync_pb2 import SyncSpec
from blade_client.as_code.fields import differences, said

NONE: frozenset[str] = frozenset()


def test_messages_become_fields():
    spec = SyncSpec(source="s", mode="FULL", metadata={"b": "2", "a": "1"}, max_age={"seconds": 90})
    spec.guards.max_deletes = 0
    spec.guards.grace.SetInParent()
    assert said(spec, frozenset({"source"})) == {
        "mode": "FULL",
        "metadata": {"a": "1", "b": "2"},
        "max_age": 90.0,
        "guards.max_deletes": 0,
    }


def test_what_is_unset_is_its_default():
    assert differences({}, {"batch_size": 100}, {"batch_size": 100}, NONE) == {}
    assert differences({"batch_size": 100}, {}, {"batch_size": 100}, NONE) == {}
    assert differences({}, {"batch_size": 7}, {"batch_size": 100}, NONE) == {"batch_size": (7, 100)}
    assert differences({}, {"scope": "x"}, {}, NONE) == {"scope": ("x", None)}
    assert differences({"last_modified": ""}, {}, {}, NONE) == {"last_modified": (None, "")}


def test_what_the_server_chose_stays_until_a_file_says_it():
    chosen = frozenset({"mapping.item_id", "mapping.classification.value", "mapping.classification.column"})
    stored = {"mapping.item_id": "{id}", "mapping.classification.column": "c"}
    assert differences({}, stored, {}, chosen) == {}
    assert differences({"mapping.item_id": "{no}"}, stored, {}, chosen) == {"mapping.item_id": ("{id}", "{no}")}
    said_value = {"mapping.classification.value": "CUI"}
    assert set(differences(said_value, stored, {}, chosen)) == {
        "mapping.classification.column",
        "mapping.classification.value",
    }


def test_a_source_says_no_name_and_nothing_of_its_output():
    hidden = frozenset({"name", "etag", "stats"})
    assert said(Source(name="a", etag="e", data_type="d", stats={"item_count": 3}), hidden) == {"data_type": "d"}
