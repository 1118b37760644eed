"""What files may say, and how they are told what is wrong."""

from __future__ import annotations

import pytest

from blade_client.as_code.documents import documents_of, read_documents
from blade_client.as_code.yaml_nodes import WrongFile

SYNC = "kind: sync\nname: keep\nspec:\n  source: parts\n"
TWO_WAYS = """\
kind: source
name: a
spec:
  dataType: d
  config: {}
  mapping:
    classification:
      value: CUI
      column: c
"""
BOMB = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdef", "bcdefg", strict=True)
)


def one(text: str):
    (document,) = documents_of(text, "f.yaml")
    return document


def test_a_document_becomes_a_message_of_the_contract():
    document = one(
        SYNC + "  mode: incremental\n  cursor: {column: seen, lag: 1h30m}\n  limits:\n    maxErrors: 0\n"
        "  metadata: {team: ops}\n  notifications: [on-call, ops]\n  adopt: true\n  max_age: 86400s\n"
    )
    spec = document.spec
    assert (document.kind.name, document.name, document.line) == ("sync", "keep", 1)
    assert (spec.cursor.lag.seconds, spec.max_age.seconds) == (5400, 86400)
    assert (spec.limits.HasField("max_errors"), spec.limits.max_errors) == (True, 0)
    assert (dict(spec.metadata), list(spec.notifications), spec.adopt) == ({"team": "ops"}, ["on-call", "ops"], True)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (SYNC + "  deletez: DELETE\n", 5, "unknown field spec.deletez; did you mean deletes?"),
        (SYNC + "  guards:\n    maxDelete: 3\n", 6, "spec.guards.maxDelete; did you mean maxDeletes?"),
        (SYNC + "  mode: CHANGD\n", 5, "did you mean CHANGED?"),
        (SYNC + "  batchSize: many\n", 5, "'many' has to be a number"),
        (SYNC + "  batchSize: 99999999999\n", 5, "not too large"),
        (SYNC + "  adopt: 1\n", 5, "true or false"),
        (SYNC + "  scope: 007\n", 5, "in quotes"),
        (SYNC + "  notifications: on-call\n", 5, "has to be a list"),
        (SYNC + "  schedule: hourly\n", 5, "has to be a mapping"),
        (SYNC + "  maxAge: 15\n", 5, "in quotes"),
        (SYNC + "  maxAge: 15 min\n", 5, "15m"),
        (SYNC + "  source: other\n", 5, "twice; line 4"),
        (SYNC + "  batchSize: 1\n  batch_size: 2\n", 6, "twice"),
        ("kind: sync\nname: keep\nspec: {}\n", 3, "spec.source is missing"),
        ("kind: sync\nname: keep\n", 1, "'spec' is missing"),
        ("kind: Sync\nname: keep\nspec: {}\n", 1, "did you mean sync?"),
        ("kind: sync\nname: Keep\nspec: {}\n", 2, "is no name"),
        ("kind: sync\nname: keep\nspec: {source: a}\nlabels: {}\n", 4, "unknown field 'labels'"),
        ("- kind: sync\n", 1, "has to be a mapping"),
        ("kind: [sync\n", 2, "not YAML"),
        ("kind: sync\nname: keep\nspec: {source: !!python/name:os.system x}\n", 3, "tag"),
        (
            "kind: source\nname: a\nspec:\n  dataType: d\n  config: {table: t}\n  etag: x\n",
            6,
            "unknown field spec.etag",
        ),
        (
            TWO_WAYS,
            9,
            "beside value",
        ),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_field(text, line, words):
    with pytest.raises(WrongFile) as wrong:
        list(documents_of(text, "f.yaml"))
    assert str(wrong.value).startswith(f"f.yaml:{line}: ")
    assert words in str(wrong.value)


@pytest.mark.parametrize(
    "text",
    [
        "kind: destination\nname: lake\nspec:\n  url: http://c\n  credentials: hunter2\n",
        "kind: destination\nname: lake\nspec:\n  url: http://bob:hunter2@c\n",
        "kind: notification\nname: ops\nspec:\n  url: https://h\n  secret: whsec_hunter2\n",
        "kind: notification\nname: ops\nspec:\n  url: https://hooks.slack.test/hunter2\n  format: SLACK\n",
        "kind: source\nname: a\nspec:\n  dataType: d\n  config: {credentials: hunter2}\n",
    ],
)
def test_a_secret_in_clear_text_is_refused_and_not_repeated(text):
    with pytest.raises(WrongFile) as wrong:
        list(documents_of(text, "f.yaml"))
    assert "secret" in str(wrong.value) or "reference" in str(wrong.value)
    assert "hunter2" not in str(wrong.value)


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: &a\n  b: *a\n",
        "[" * 100_000,
        "x: " + "[" * 60 + "]" * 60,
        "x: " + "y" * (4 * 1024 * 1024),
    ],
    ids=["bomb", "circle", "deep", "too deep", "large"],
)
def test_work_is_bounded(text):
    with pytest.raises(WrongFile):
        list(documents_of(text, "f.yaml"))


def test_aliases_within_the_bounds_are_taken():
    text = "kind: sync\nname: a\nspec:\n  source: &s parts\n  scope: *s\n"
    assert one(text).spec.scope == "parts"


def test_a_folder_is_read_with_its_folders_and_each_thing_stands_once(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "a.yaml").write_text(SYNC + "---\n" + SYNC.replace("keep", "other") + "---\n")
    (tmp_path / "in" / "b.yml").write_text(SYNC.replace("keep", "third"))
    (tmp_path / "notes.txt").write_text("no YAML: [")
    assert [each.name for each in read_documents([str(tmp_path)])] == ["keep", "other", "third"]
    (tmp_path / "in" / "b.yml").write_text("\n" + SYNC)
    with pytest.raises(WrongFile, match=r"b.yml:2: the sync 'keep' stands in two documents; the other is .*a.yaml:1"):
        read_documents([str(tmp_path)])
