// All syncs: how each stands, and what runs right now.

import { get } from "./api.js";
import { h, keyed, set, text } from "./dom.js";
import { poll, remember } from "./feed.js";
import { ago, count, moment, shownStatus, words } from "./format.js";
import { amount } from "./overview.js";
import { bar } from "./progress.js";
import { anywhere } from "./session.js";
import { KINDS, countsInWords, jobLink, lastSuccess, lateness, nextRun, syncLink, withheld } from "./sync_words.js";

const PAGE = 200;
const MOST = 1000;
const COLUMNS = ["Sync", "Reads", "Now", "Last run", "Last success", "Next run"];
// One question for all that runs, however many syncs there are.
const RUNNING = new URLSearchParams([["pageSize", MOST], ...["PENDING", "RUNNING", "PAUSED"].map((name) => ["statuses", name]),
  ...["SYNC", "APPLY", "BACKFILL", "DELETE", "VERIFY"].map((name) => ["kinds", name])]);

export function showSyncs(main) {
  let size = PAGE;
  const known = new Map();
  const body = h("tbody");
  const note = h("p.quiet", {}, "Loading");
  const empty = emptyState();
  const more = h("button", { type: "button", hidden: true, click: () => { size = Math.min(MOST, size + PAGE); feed.now(); } }, "Show more");
  const table = h("table.jobs.syncs", { hidden: true }, h("caption.unseen", {}, "Syncs, in the order of their names"),
    h("thead", {}, h("tr", {}, COLUMNS.map((name) => h("th", { scope: "col" }, name)))), body);
  main.append(
    h("div.title", {}, h("h1", {}, "Syncs"), anywhere("EDITOR") && h("a.button.primary", { href: "#/new-sync" }, "New sync")),
    empty, table, note, more);
  const load = async (signal) => {
    const { syncs, nextPageToken } = await get(`/syncs?pageSize=${size}`, signal);
    const running = syncs.some((sync) => sync.runningJobId) ? (await get(`/jobs?${RUNNING}`, signal)).jobs : [];
    running.forEach(remember);
    const jobs = new Map(running.map((job) => [job.jobId, job]));
    keyed(body, known, syncs.map((sync) => ({ sync, job: jobs.get(sync.runningJobId) })), ({ sync }) => sync.name, makeRow);
    set(table, "hidden", !syncs.length);
    set(empty, "hidden", syncs.length > 0);
    text(note, nextPageToken && size >= MOST ? `The first ${count(syncs.length)}; all of them: GET /syncs.` : "");
    set(note, "hidden", !note.textContent);
    set(more, "hidden", !nextPageToken || size >= MOST);
  };
  const feed = poll(load, 1500);
  return { stop: feed.stop };
}

function emptyState() {
  return h("section.panel", { hidden: true, "aria-labelledby": "no-sync" },
    h("h2", { id: "no-sync" }, "No sync yet"),
    h("p", {}, "A sync is a standing order: keep the items of one source in a catalog equal to the rows. By hand or at due times it sends what is new or has changed and, if asked, deletes what is gone. Each of its runs is a job."),
    anywhere("EDITOR")
      ? h("p", {}, h("a", { href: "#/new-sync" }, "Create one here"), ", or with POST /syncs, see API.")
      : h("p", {}, "To create one you need the role EDITOR on its source."));
}

function makeRow({ sync }) {
  const state = syncState(sync.name);
  const run = h("td", { "data-name": "Last run" });
  const link = h("a", {});
  const did = h("span.numbers");
  const held = h("span.wait");
  run.append(link, did, held);
  const success = h("span");
  const late = h("span.wait");
  const next = h("td", { "data-name": "Next run" });
  const reads = h("td", { "data-name": "Reads" });
  const element = h("tr", {},
    h("th", { scope: "row" }, h("a.mono", { href: syncLink(sync.name) }, sync.name)),
    reads,
    h("td.wide", { "data-name": "Now" }, state.element),
    run,
    h("td", { "data-name": "Last success" }, success, late),
    next);
  return {
    element,
    update({ sync: now, job }) {
      text(reads, `${now.spec.source}, ${words(now.spec.mode).toLowerCase()}`);
      state.update(now, job);
      const last = now.lastRun;
      text(link, last ? ago(last.endTime) : "none");
      set(link, "href", last ? jobLink(last.jobId) : null);
      text(did, last ? `${words(shownStatus(last))}: ${countsInWords(last.kind, last.report)}` : "");
      text(held, withheld(last?.report));
      text(success, lastSuccess(now));
      set(success, "title", moment(now.lastSuccessTime));
      text(late, lateness(now));
      text(next, nextRun(now));
      set(next, "title", moment(now.nextRunTime));
    },
  };
}

/** How a sync stands: paused, running with its progress, or how its last run ended. */
export function syncState(name) {
  const sign = h("span.badge");
  const progress = bar(`Progress of ${name}`);
  const numbers = h("span.numbers");
  const why = h("span.wait");
  return {
    element: h("div.state", {}, sign, progress.element, numbers, why),
    update(sync, job) {
      const [status, label] = stateOf(sync, job);
      set(sign, "data-status", status);
      text(sign, label);
      set(progress.element, "hidden", !job);
      if (job) progress.update(job);
      text(numbers, job ? `${KINDS[job.kind] ?? words(job.kind)}: ${amount(job) || words(job.status).toLowerCase()}` : "");
      text(why, sync.paused && sync.pauseReason ? sync.pauseReason : sync.failuresInARow > 1 ? `${count(sync.failuresInARow)} runs failed in a row` : "");
    },
  };
}

function stateOf(sync, job) {
  if (job) return [job.status, words(job.status)];
  if (sync.runningJobId) return ["RUNNING", "Running"];
  if (sync.paused) return ["PAUSED", "Paused"];
  if (!sync.lastRun) return ["PENDING", "Never ran"];
  return sync.lastRun.status === "COMPLETED" ? ["COMPLETED", "In order"] : [sync.lastRun.status, `Last run ${words(sync.lastRun.status).toLowerCase()}`];
}

