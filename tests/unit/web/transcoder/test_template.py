from __future__ import annotations

import pytest

from blade_server.web.transcoder.template import Template


def match(template, path):
    return Template(text=template).match(path)


def test_a_variable_is_one_segment():
    assert match("/jobs/{job_id}", "/jobs/a") == {"job_id": "a"}
    assert match("/jobs/{job_id}", "/jobs/a/b") is None
    assert match("/jobs/{job_id}", "/jobs/") is None


def test_a_verb_stands_behind_a_bare_colon():
    assert match("/jobs/{job_id}:pause", "/jobs/a:b:pause") == {"job_id": "a:b"}
    assert match("/jobs/{job_id}:pause", "/jobs/a%3Apause") is None


def test_values_are_decoded_after_matching():
    assert match("/blade/{data_type}/{item_id}", "/blade/m/A%2FB%20%C3%BC") == {"data_type": "m", "item_id": "A/B ü"}


def test_a_value_that_is_not_utf8_is_an_error():
    with pytest.raises(UnicodeDecodeError):
        match("/jobs/{job_id}", "/jobs/%ff")


def test_a_pattern_may_span_segments():
    assert match("/v1/{name=shelves/*/books/**}:read", "/v1/shelves/1/books/a/b:read") == {
        "name": "shelves/1/books/a/b"
    }
    assert match("/v1/{name=shelves/*}", "/v1/rooms/1") is None


def test_field_paths_are_kept():
    assert Template(text="/configure/blade/{source.name}").fields == ("source.name",)


def test_dots_in_a_template_are_dots():
    assert match("/openapi.json", "/openapiXjson") is None


def test_literals_outrank_variables_and_verbs_outrank_none():
    texts = ["/jobs/{id}", "/jobs/{id}:pause", "/{a}/{b}", "/jobs/blade"]
    ranked = sorted((Template(text=text) for text in texts), key=lambda template: template.rank, reverse=True)
    assert [template.text for template in ranked] == ["/jobs/blade", "/jobs/{id}:pause", "/jobs/{id}", "/{a}/{b}"]
