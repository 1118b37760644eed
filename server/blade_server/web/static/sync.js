// One sync: what is asked for, how it stands, its runs and due times, and the buttons to do more.

import { Refused, get, post, requestId } from "./api.js";
import { acceptDeletes } from "./accept_deletes.js";
import { confirmation } from "./dialog.js";
import { h, keyed, set, text, toast } from "./dom.js";
import { poll, watch } from "./feed.js";
import { ago, count, duration, moment, words } from "./format.js";
import { may } from "./session.js";
import { syncItem } from "./sync_item.js";
import { syncState } from "./syncs.js";
import { KINDS, acceptable, countsInWords, jobLink, lastSuccess, lateness, nextRun, reportLink, specInWords, syncLink, syncPath, withheld } from "./sync_words.js";

const PAGE = 20;
const MOST = 1000;
const ACTIONS = [
  { verb: ":run", label: "Run now", role: "OPERATOR", repeatable: true, when: (sync) => !sync.runningJobId, done: () => "A run was started." },
  { verb: ":pause", label: "Pause", role: "OPERATOR", ask: true, when: (sync) => !sync.paused, done: () => "Paused: due times start nothing." },
  { verb: ":resume", label: "Resume", role: "OPERATOR", when: (sync) => sync.paused, done: () => "Due times start runs again." },
  { verb: ":plan", label: "Plan", role: "READER", repeatable: true, when: () => true, done: () => "A plan is being made. Nothing is written.", to: (sync, job) => reportLink(sync.name, job.jobId) },
  { verb: ":verify", label: "Verify", role: "OPERATOR", repeatable: true, when: () => true, done: () => "The catalog is being compared with the rows.", to: (sync, job) => reportLink(sync.name, job.jobId) },
];

export function showSync(main, name) {
  const abort = new AbortController();
  const feeds = {};
  const head = heading(name, () => feeds.now());
  const standing = figures(name);
  const spec = asked();
  const lists = [runs(name), fires(name)];
  const item = syncItem(name, abort.signal);
  const body = h("div", { hidden: true }, standing.element, spec.element, lists.map((list) => list.element), item.element);
  const missing = h("p.notice", { role: "alert", hidden: true });
  main.append(h("p.back", {}, h("a", { href: "#/syncs" }, "All syncs")), head.element, missing, body);

  let dataType = null;
  let followed = null;
  let running = null;
  let sync = null;
  const follow = (id) => {
    if (followed?.id === id) return;
    followed?.stream.stop();
    running = null;
    followed = id ? { id, stream: watch(id, (job) => {
      running = job;
      if (sync) standing.update(sync, running.endTime ? null : running);
      if (job.endTime) feed.now(); // what it did is in the sync's rows by now
    }) } : null;
  };
  const load = async (signal) => {
    try {
      sync = await get(syncPath(name), signal);
      dataType ??= (await get(`/configure/blade/${encodeURIComponent(sync.spec.source)}`, signal).catch(() => null))?.dataType ?? "";
      follow(sync.runningJobId);
      set(missing, "hidden", true);
      set(body, "hidden", null);
      const allowed = (role) => may(role, sync.spec.source, dataType);
      head.update(sync, allowed);
      standing.update(sync, running?.endTime ? null : running);
      spec.update(sync);
      item.update(allowed("READER"));
      await Promise.all(lists.map((list) => list.load(signal)));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      text(missing, error.message);
      set(missing, "hidden", null);
      throw error;
    }
  };
  const feed = poll(load, 2000);
  feeds.now = feed.now;
  return {
    stop() {
      feed.stop();
      abort.abort();
      followed?.stream.stop();
    },
  };
}

function heading(name, onChange) {
  const title = h("h1.mono", { tabindex: "-1" }, name);
  const paused = h("span.badge", { "data-status": "PAUSED", hidden: true }, "Paused");
  const denied = h("p.quiet", { hidden: true });
  const edit = h("a.button", { href: syncLink(name, "/edit"), hidden: true }, "Edit");
  const pause = confirmation({ title: `Pause ${name}?`, about: "Due times start nothing until it is resumed. A run that goes on goes on.", yes: "Pause", no: "Leave it" });
  const accept = acceptDeletes(name);
  const held = h("p");
  let sync = null;
  const letGo = h("button", { type: "button", "data-verb": ":acceptDeletes", click: () => accept.ask(sync.lastRun.jobId, sync.lastRun.report) }, "Accept deletes");
  const look = h("a.button", {}, "Look at them");
  const heldBox = h("section.notice.amber", { "aria-label": "Withheld deletes", hidden: true }, held, h("div.buttons", {}, look, letGo));
  const act = async (action, button) => {
    if (button.getAttribute("aria-disabled")) return;
    const why = action.ask ? await pause.ask() : "";
    if (why === null) return;
    set(button, "aria-disabled", "true");
    try {
      const answer = await post(syncPath(name, action.verb), { ...(why ? { reason: why } : {}), ...(action.repeatable ? { requestId: requestId() } : {}) });
      toast(action.done());
      if (action.to) location.hash = action.to(sync, answer);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      toast(error.message, "error");
    } finally {
      set(button, "aria-disabled", null);
      onChange();
    }
  };
  const buttons = ACTIONS.map((action) => {
    const button = h("button", { type: "button", hidden: true, "data-verb": action.verb, click: () => act(action, button) }, action.label);
    return button;
  });
  return {
    element: h("header.job", {}, h("div.title", {}, title, paused), h("div.buttons", { role: "group", "aria-label": "Control" }, buttons, edit), denied, heldBox, pause.element, accept.element),
    update(now, allowed) {
      sync = now;
      const focused = buttons.indexOf(document.activeElement);
      set(paused, "hidden", !sync.paused);
      ACTIONS.forEach((action, index) => set(buttons[index], "hidden", !allowed(action.role) || !action.when(sync)));
      set(edit, "hidden", !allowed("EDITOR"));
      text(denied, `To run or pause this sync you need the role OPERATOR on ${sync.spec.source}.`);
      set(denied, "hidden", allowed("OPERATOR"));
      // A button that goes away must not take the focus with it.
      if (focused >= 0 && buttons[focused].hidden) (buttons.find((button) => !button.hidden) ?? title).focus();
      const last = sync.lastRun;
      text(held, withheld(last?.report));
      set(heldBox, "hidden", !held.textContent);
      set(look, "href", last && reportLink(name, last.jobId));
      set(look, "hidden", !allowed("READER"));
      set(letGo, "hidden", !allowed("EDITOR") || !acceptable(last?.kind, last?.report));
    },
  };
}

function figures(name) {
  const state = syncState(name);
  const job = h("a", {}, "Watch the job");
  const late = h("p.amber");
  const names = ["Last success", "Next run", "Items known", "To be read again", "Watermark", "Last run"];
  const values = Object.fromEntries(names.map((fact) => [fact, h("dd")]));
  const facts = h("dl.facts.big", {}, names.map((fact) => h("div", { "data-fact": fact }, h("dt", {}, fact), values[fact])));
  return {
    element: h("section.panel", { "aria-label": "How it stands" }, state.element, h("p", {}, job), late, facts),
    update(sync, running) {
      state.update(sync, running);
      set(job, "href", sync.runningJobId ? jobLink(sync.runningJobId) : null);
      set(job.parentNode, "hidden", !sync.runningJobId);
      text(late, lateness(sync));
      set(late, "hidden", !sync.late);
      text(values["Last success"], lastSuccess(sync));
      set(values["Last success"], "title", moment(sync.lastSuccessTime));
      text(values["Next run"], nextRun(sync));
      set(values["Next run"], "title", moment(sync.nextRunTime));
      text(values["Items known"], count(sync.knownItems));
      text(values["To be read again"], count(sync.dirtyItems));
      text(values.Watermark, sync.watermark || (sync.feedVersion === undefined ? "" : `version ${sync.feedVersion}`));
      set(values.Watermark.parentNode, "hidden", !values.Watermark.textContent);
      text(values["Last run"], sync.lastRun ? countsInWords(sync.lastRun.kind, sync.lastRun.report) : "none");
    },
  };
}

function asked() {
  const list = h("dl.facts.spec");
  return {
    element: h("section.panel", { "aria-labelledby": "asked" }, h("h2", { id: "asked" }, "What is asked for"), list),
    update(sync) {
      const facts = specInWords(sync);
      const key = JSON.stringify(facts);
      if (list.dataset.key === key) return;
      list.dataset.key = key;
      list.replaceChildren(...facts.map(([fact, value]) => h("div", {}, h("dt", {}, fact), h("dd", {}, value))));
    },
  };
}

function runs(name) {
  return paged({
    id: "runs", title: "Runs", none: "It never ran.", columns: ["Run", "Status", "What it did", "Started", "Took"],
    page: async (size, signal) => {
      const { runs: found, nextPageToken } = await get(`${syncPath(name)}/runs?pageSize=${size}`, signal);
      return [found, nextPageToken];
    },
    keyOf: (run) => run.jobId,
    make(run) {
      const sign = h("span.badge");
      const did = h("span");
      const held = h("span.wait");
      const took = h("td", { "data-name": "Took" });
      return {
        element: h("tr", {},
          h("th", { scope: "row" }, h("a", { href: jobLink(run.jobId), title: run.jobId }, `${KINDS[run.kind] ?? words(run.kind)}${run.number ? ` ${run.number}` : ""}`)),
          h("td", { "data-name": "Status" }, sign),
          h("td.wide", { "data-name": "What it did" }, did, held, " ", h("a", { href: reportLink(name, run.jobId), "aria-label": `What ${run.jobId} found` }, "Details")),
          h("td", { "data-name": "Started", title: moment(run.startTime) }, run.startTime ? ago(run.startTime) : "not yet"),
          took),
        update(now) {
          set(sign, "data-status", now.status);
          text(sign, words(now.status));
          text(did, now.report ? countsInWords(now.kind, now.report) : "");
          text(held, now.kind === "PLAN" ? "" : withheld(now.report));
          text(took, now.startTime && now.endTime ? duration((Date.parse(now.endTime) - Date.parse(now.startTime)) / 1000) : "");
        },
      };
    },
  });
}

function fires(name) {
  return paged({
    id: "fires", title: "Due times", none: "No time was due yet.", columns: ["Due", "What became of it", "Why", "Job"],
    page: async (size, signal) => {
      const { fires: found, nextPageToken } = await get(`${syncPath(name)}/fires?pageSize=${size}`, signal);
      return [found, nextPageToken];
    },
    keyOf: (fire) => fire.dueTime,
    make(fire) {
      const sign = h("span.badge");
      const why = h("td.wide", { "data-name": "Why" });
      const job = h("td", { "data-name": "Job" });
      return {
        element: h("tr", {}, h("th", { scope: "row" }, moment(fire.dueTime)), h("td", { "data-name": "What became of it" }, sign), why, job),
        update(now) {
          set(sign, "data-status", FIRES[now.outcome] ?? "PENDING");
          text(sign, words(now.outcome));
          text(why, now.detail || REASONS[now.outcome] || "");
          if (job.dataset.id === now.jobId) return;
          job.dataset.id = now.jobId;
          job.replaceChildren(now.jobId ? h("a.mono", { href: jobLink(now.jobId), title: now.jobId }, `…${now.jobId.slice(-6)}`) : "–");
        },
      };
    },
  });
}

const FIRES = { STARTED: "COMPLETED", SKIPPED: "CANCELLED", QUEUED: "PENDING", MISSED: "COMPLETED_WITH_ERRORS", BLOCKED: "FAILED" };
const REASONS = {
  STARTED: "It started a job.",
  SKIPPED: "The run before it was not over.",
  QUEUED: "It starts a job once the run before it is over.",
  MISSED: "No server was there for it, or the sync was paused.",
  BLOCKED: "The sync may not run.",
};

/** A table that grows by a page at a time and is looked up as a whole, so that what is shown stays right. */
function paged({ id, title, none, columns, page, keyOf, make }) {
  let size = PAGE;
  const known = new Map();
  const body = h("tbody");
  const table = h(`table.rows.free.${id}`, { hidden: true }, h("caption.unseen", {}, `${title}, newest first`), h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))), body);
  const note = h("p.quiet");
  const more = h("button", { type: "button", hidden: true, click: () => { size = Math.min(MOST, size + 5 * PAGE); load(); } }, "Show older ones");
  const load = async (signal) => {
    const [found, token] = await page(size, signal);
    keyed(body, known, found, keyOf, make);
    set(table, "hidden", !found.length);
    text(note, found.length ? "" : none);
    set(note, "hidden", !note.textContent);
    set(more, "hidden", !token || size >= MOST);
  };
  return { element: h("section", { "aria-labelledby": id }, h("h2", { id }, title), table, note, more), load };
}
