"""The page to read and try the API."""

from __future__ import annotations

import re

from blade.v1 import job_pb2


def test_every_call_is_listed_and_a_call_can_be_tried(world, page):
    from playwright.sync_api import expect

    job = world.add_job(job_pb2.Job.RUNNING, done=100)
    page.goto("/docs#JobService_GetJob_2")
    operation = page.locator("#JobService_GetJob_2")
    described = page.request.get("/openapi.json").json()["paths"]
    expect(page.locator("details.operation")).to_have_count(sum(map(len, described.values())))
    assert len(described) > 20
    operation.get_by_label("id (required)").fill(job.job_id)
    expect(operation.get_by_label("As a command")).to_have_text(re.compile(rf"curl 'http://127.*/jobs/{job.job_id}'"))
    operation.get_by_role("button", name="Send").click()
    expect(operation.get_by_role("status")).to_have_text(re.compile("200 OK"))
    expect(operation.get_by_label("Answer", exact=True)).to_contain_text('"processedItems": 100')


def test_a_stream_is_shown_as_it_comes_and_can_be_stopped(stage, world, page):
    from playwright.sync_api import expect

    job = world.add_job(job_pb2.Job.RUNNING, done=100)
    page.goto("/docs#JobService_WatchJob")
    operation = page.locator("#JobService_WatchJob")
    operation.get_by_label("job_id (required)").fill(job.job_id)
    operation.get_by_label("Accept").select_option("application/x-ndjson")
    operation.get_by_role("button", name="Send").click()
    expect(operation.get_by_label("Answer", exact=True)).to_contain_text('"processedItems":100')
    stage.change(job, success_count=333)
    expect(operation.get_by_label("Answer", exact=True)).to_contain_text('"processedItems":333')
    operation.get_by_role("button", name="Stop").click()
    expect(operation.get_by_role("status")).to_have_text("Stopped.")


def test_an_item_id_of_dots_can_be_asked_for(world, page):
    """In a path the browser would take it for a step up, encoded or not."""
    page.goto("/docs#QueryService_GetItem_2")
    operation = page.locator("#QueryService_GetItem_2")
    operation.get_by_label("data_type (required)").fill("maintenance")
    operation.get_by_label("itemId").fill("..")
    with page.expect_request("**/blade/**") as asked:
        operation.get_by_role("button", name="Send").click()
    assert asked.value.url.endswith("/blade/maintenance:item?itemId=..")


def test_nothing_is_fetched_from_another_host(world, context, page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    for path in ("/docs", "/", "/#/start"):
        page.goto(path)
        page.locator("h1").wait_for(state="attached")
    assert asked
    assert all(url.startswith(("http://127.0.0.1:", "data:")) for url in asked)
