// One source as a card, with its connection test.

import { Refused, post } from "./api.js";
import { h, set, text } from "./dom.js";
import { ago, count, took, words } from "./format.js";
import { may } from "./session.js";

export function makeSource(source) {
  const name = h("h3");
  const off = h("span.badge", { "data-status": "CANCELLED" }, "Off");
  const table = h("p.mono.quiet");
  const items = h("dd");
  const last = h("dd");
  const result = h("div.steps", { role: "status" });
  const test = h("button", { type: "button", click: () => run(source.name, test, result) }, "Test connection");
  const query = `source=${encodeURIComponent(source.name)}`;
  const lastJob = h("dd");
  const cost = h("dd");
  const element = h("li.card", {},
    h("div.title", {}, name, off),
    table,
    h("dl.facts", {},
      h("div", {}, h("dt", {}, "Items"), items),
      h("div", {}, h("dt", {}, "Last success"), last),
      h("div", {}, h("dt", {}, "Last job"), lastJob),
      h("div", {}, h("dt", {}, "Warehouse this month"), cost)),
    h("div.buttons", {},
      may("OPERATOR", source.name, source.dataType) && test,
      h("a.button", { href: `#/?${query}` }, "Jobs"),
      may("READER", source.name, source.dataType) && h("a.button", { href: `#/start?${query}` }, "Start a job")),
    result);
  let shownJob = null;
  return {
    element,
    update(now) {
      text(name, now.displayName || now.name);
      set(name, "title", now.name);
      set(off, "hidden", now.enabled !== false);
      set(element, "data-off", now.enabled === false);
      text(table, `${now.dataType} · ${now.config.catalog}.${now.config.schema}.${now.config.table}`);
      text(items, count(now.stats?.itemCount));
      text(last, ago(now.stats?.lastSuccessTime));
      text(cost, took(now.cost));
      const job = now.stats?.lastJobId ?? "";
      if (job !== shownJob) {
        shownJob = job;
        lastJob.replaceChildren(job ? h("a.mono", { href: `#/jobs/${encodeURIComponent(job)}`, title: job }, "…" + job.slice(-6)) : "none");
      }
    },
  };
}

async function run(name, button, result) {
  if (button.getAttribute("aria-disabled")) return;
  set(button, "aria-disabled", "true"); // not `disabled`, which would throw the focus away
  text(result, "Testing …");
  try {
    const { passed, steps, itemIds } = await post(`/configure/blade/${encodeURIComponent(name)}:test`);
    result.replaceChildren(
      h("p", {}, passed ? "The connection works." : "The connection does not work."),
      itemIds && h(itemIds.duplicateCount || itemIds.missingCount ? "p.bad" : "p.quiet", {}, `Item ids: ${itemIds.message}`),
      h("ol", {}, steps.map((step) =>
        h("li", { "data-outcome": step.outcome },
          h("span", {}, words(step.kind)),
          h("span.quiet", {}, step.outcome === "NOT_RUN" ? "not run" : step.outcome === "FAILED" ? "failed" : `${step.durationMs.toFixed(0)} ms`),
          step.message && h("p", {}, step.message)))));
  } catch (error) {
    text(result, error.message);
    if (!(error instanceof Refused)) throw error;
  } finally {
    set(button, "aria-disabled", null);
  }
}
