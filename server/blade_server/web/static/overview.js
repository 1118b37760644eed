// The first view: sources, and the jobs of them all.

import { get } from "./api.js";
import { h, keyed, set, text } from "./dom.js";
import { poll, remember } from "./feed.js";
import { ago, clock, count, duration, percent, rate, shownStatus, words } from "./format.js";
import { bar } from "./progress.js";
import { anywhere } from "./session.js";
import { makeSource } from "./sources.js";

const PAGE = 200;
const MOST = 1000;
const COSTS_EVERY_MS = 60_000;
const FILTERS = [
  ["", "All", []],
  ["open", "Open", statuses("PENDING", "RUNNING", "PAUSED")],
  ["RUNNING", "Running", statuses("RUNNING")],
  ["PAUSED", "Paused", statuses("PAUSED")],
  ["FAILED", "Failed", statuses("FAILED")],
  ["COMPLETED", "Completed", statuses("COMPLETED")],
  ["COMPLETED_WITH_ERRORS", "Completed with errors", [["withErrors", "true"]]],
];

function statuses(...names) {
  return names.map((name) => ["statuses", name]);
}

export function showOverview(main, parameters) {
  const filter = FILTERS.find(([key]) => key === parameters.get("status")) ?? FILTERS[0];
  const source = parameters.get("source") ?? "";
  const sources = showSources();
  const jobs = showJobs(filter, source);
  main.append(h("h1.unseen", {}, "Jobs and sources"), sources.element, jobs.element);
  return {
    stop() {
      sources.stop();
      jobs.stop();
    },
  };
}

function showSources() {
  const list = h("ul.cards", { role: "list" });
  const empty = h("p.quiet", {}, "Loading");
  const known = new Map();
  let costs = new Map();
  let costsDue = 0;
  // On a phone the jobs come first; the sources are one touch away.
  const open = !matchMedia("(max-width: 46rem)").matches;
  const element = h("section", { "aria-labelledby": "sources" },
    h("details.sources", { open }, h("summary", {}, h("h2", { id: "sources" }, "Sources")), empty, list));
  const load = async (signal) => {
    const { sources } = await get("/configure/blade?pageSize=1000", signal);
    if (Date.now() >= costsDue) {
      costsDue = Date.now() + COSTS_EVERY_MS;
      const found = await get("/costs/blade?pageSize=1000", signal);
      costs = new Map(found.costs.map((one) => [one.source, one.cost]));
    }
    for (const one of sources) one.cost = costs.get(one.name);
    keyed(list, known, sources, (one) => one.name, makeSource);
    text(empty, sources.length ? "" : "No source yet. Add one with POST /configure/blade/{data_type}, see API, or with blade source add.");
    set(empty, "hidden", sources.length > 0);
  };
  return { element, stop: poll(load, 5000).stop };
}

function showJobs(filter, source) {
  let size = PAGE;
  const known = new Map();
  const body = h("tbody");
  const note = h("p.quiet", {}, "Loading");
  const more = h("button", { type: "button", hidden: true, click: () => { size = Math.min(MOST, size + PAGE); feed.now(); } }, "Show more");
  const columns = ["Job", "Source", "Status", "Progress", "Rate", "Time"];
  const table = h("table.jobs", { hidden: true },
    h("caption.unseen", {}, "Jobs, newest first"),
    h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))),
    body);
  const load = async (signal) => {
    const query = new URLSearchParams([["pageSize", size], ["source", source], ...filter[2]]);
    const { jobs, nextPageToken } = await get(`/jobs?${query}`, signal);
    jobs.forEach(remember);
    keyed(body, known, jobs, (job) => job.jobId, makeRow);
    set(table, "hidden", !jobs.length);
    const cut = nextPageToken ? (size < MOST ? `The ${count(jobs.length)} newest.` : `The ${count(jobs.length)} newest; older ones by filter or GET /jobs.`) : "";
    text(note, jobs.length ? cut : filter[0] || source ? "No job like this." : "No job yet.");
    set(note, "hidden", !note.textContent);
    set(more, "hidden", !nextPageToken || size >= MOST);
  };
  const element = h("section", { "aria-labelledby": "jobs" },
    h("div.title", {}, h("h2", { id: "jobs" }, source ? `Jobs of ${source}` : "Jobs"), anywhere("READER") && h("a.button.primary", { href: source ? `#/start?source=${encodeURIComponent(source)}` : "#/start" }, "Start a job")),
    filters(filter, source), table, note, more);
  const feed = poll(load, 1000);
  return { element, stop: feed.stop };
}

function filters(chosen, source) {
  const to = (key, name) => {
    const query = new URLSearchParams(Object.entries({ status: key, source: name }).filter(([, value]) => value));
    return `#/${query.size ? "?" + query : ""}`;
  };
  const links = FILTERS.map(([key, label]) =>
    h("a", { href: to(key, source), "aria-current": key === chosen[0] ? "true" : null }, label));
  const clear = source && h("a", { href: to(chosen[0], "") }, "of all sources");
  return h("div.filters", { role: "group", "aria-label": "Which jobs" }, links, clear);
}

function makeRow(job) {
  const link = h("a.mono", { href: `#/jobs/${encodeURIComponent(job.jobId)}` }, job.jobId);
  const sql = h("span.sql.quiet", { title: job.spec.sql }, job.redacted ? "SQL not shown" : job.spec.sql);
  const status = badge();
  const wait = h("span.wait");
  const progress = bar(`Progress of ${job.jobId}`);
  const numbers = h("span.numbers");
  const speed = h("td.number", { "data-name": "Rate" });
  const time = h("td.time", { "data-name": "Time" });
  const element = h("tr", {},
    h("th", { scope: "row" }, link, sql),
    h("td", { "data-name": "Source" }, job.spec.source),
    h("td", { "data-name": "Status" }, status.element, wait),
    h("td.wide", { "data-name": "Progress" }, progress.element, numbers),
    speed, time);
  return {
    element,
    update(now) {
      status.update(now);
      text(wait, now.status === "RUNNING" ? words(now.pendingAction === "ACTION_UNSPECIFIED" ? now.waitReason : now.pendingAction + "_REQUESTED") : "");
      progress.update(now);
      text(numbers, amount(now));
      text(speed, now.status === "RUNNING" ? rate(now.itemsPerSecond) : "");
      text(time, timing(now));
      set(time, "title", `created ${now.createTime}`);
    },
  };
}

export function badge() {
  const element = h("span.badge");
  return {
    element,
    update(job) {
      const shown = shownStatus(job);
      set(element, "data-status", shown);
      text(element, words(shown));
    },
  };
}

export function amount(job) {
  const total = job.totalItems;
  const errors = job.errorCount ? `, ${count(job.errorCount)} failed` : "";
  if (total === undefined) return job.status === "PENDING" ? "" : `${count(job.processedItems)} rows${errors}`;
  return `${percent(job.processedItems, total)} of ${count(total)}${errors}`;
}

function timing(job) {
  if (job.endTime) return ago(job.endTime);
  if (job.estimatedCompletion) {
    const left = (Date.parse(job.estimatedCompletion) - Date.now()) / 1000;
    return `${duration(left)} left, ${clock(job.estimatedCompletion)}`;
  }
  return `since ${ago(job.createTime).replace(" ago", "")}`;
}
