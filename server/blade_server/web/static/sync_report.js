// What a run, a plan or a verification of a sync found: counts, items by kind with what differs, and what can be done about it.

import { Refused, get, post, requestId } from "./api.js";
import { acceptDeletes } from "./accept_deletes.js";
import { confirmation } from "./dialog.js";
import { h, say, set, text, toast } from "./dom.js";
import { watch } from "./feed.js";
import { ago, count, reason, words } from "./format.js";
import { amount, badge } from "./overview.js";
import { bar } from "./progress.js";
import { may } from "./session.js";
import { KINDS, acceptable, countsInWords, countsOf, jobLink, syncLink, syncPath, withheld } from "./sync_words.js";

const PLAN_HOLDS_S = 3600;
const SECTIONS = {
  PLAN: { CREATE: "To create", UPDATE: "To update", DELETE: "To delete", WITHHELD: "Deletes that would be withheld", REJECT: "Rows that would be rejected" },
  VERIFY: { CREATE: "Missing in the destination", UPDATE: "Different in the destination", DELETE: "Too much in the destination", WITHHELD: "Not checked", REJECT: "Rows that are rejected" },
  RUN: { CREATE: "Created", UPDATE: "Updated", DELETE: "Deleted", WITHHELD: "Deletes that were withheld", REJECT: "Rejected" },
};
const COUNT_OF = { CREATE: "created", UPDATE: "updated", DELETE: "deleted", WITHHELD: "withheld", REJECT: "failed" };
const LEADS = {
  PLAN: "What a run would do. Nothing was written to the destination.",
  VERIFY: "All rows compared with the items in the destination.",
};

export function showSyncReport(main, name, id) {
  const abort = new AbortController();
  const title = h("h1", {}, "What it found");
  const sign = badge();
  const lead = h("p.quiet");
  const problem = h("p.notice", { role: "alert", hidden: true });
  const progress = bar("Progress");
  const doing = h("p.quiet");
  const actions = reportActions(name, problem);
  const found = h("div");
  main.append(h("p.back", {}, h("a", { href: syncLink(name) }, `Sync ${name}`)),
    h("header.job", {}, h("div.title", {}, title, sign.element), lead, h("p", {}, h("a.mono", { href: jobLink(id) }, id)), actions.element),
    problem, h("section.panel", { "aria-label": "Progress" }, progress.element, doing), found);
  const panel = progress.element.parentNode;
  let stream = null;
  const moving = (job) => {
    sign.update(job);
    progress.update(job);
    text(doing, amount(job) || "Not begun yet");
    set(panel, "hidden", Boolean(job.endTime));
  };
  const load = async () => {
    try {
      const { job, changes } = await get(syncPath(name, `/runs/${encodeURIComponent(id)}/report`), abort.signal);
      const dataType = job.spec.dataType;
      text(title, `${KINDS[job.kind] ?? words(job.kind)} of ${name}`);
      text(lead, `${LEADS[job.kind] ?? "What it did."}${job.endTime ? ` Ended ${ago(job.endTime)}.` : ""}`);
      moving(job);
      actions.update(job, (role) => may(role, job.spec.source, dataType));
      if (job.endTime) {
        found.replaceChildren(...contents(job, changes));
        if (stream) say(`${title.textContent}: ${words(job.status).toLowerCase()}.`);
      }
      stream ??= job.endTime ? { stop() {} } : watch(id, (now) => {
        moving(now);
        if (now.endTime) load();
      });
    } catch (error) {
      if (abort.signal.aborted) return;
      text(problem, error.message);
      set(problem, "hidden", null);
      set(panel, "hidden", true);
      if (!(error instanceof Refused)) throw error;
    }
  };
  load();
  return {
    stop() {
      abort.abort();
      stream?.stop();
    },
  };
}

function reportActions(name, problem) {
  let job = null;
  const sure = confirmation({ title: "Apply this plan?", about: "", yes: "Apply", no: "Leave it" });
  const accept = acceptDeletes(name);
  const note = h("p.quiet", { hidden: true });
  const send = async (button, path, body, done, to) => {
    if (button.getAttribute("aria-disabled")) return;
    set(button, "aria-disabled", "true");
    set(problem, "hidden", true);
    try {
      const answer = await post(syncPath(name, path), { ...body, requestId: requestId() });
      toast(done);
      location.hash = to(answer.jobId);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      text(problem, error.message); // PLAN_STALE stays to be read
      set(problem, "hidden", null);
    } finally {
      set(button, "aria-disabled", null);
    }
  };
  const apply = h("button.primary", { type: "button", hidden: true, click: async () => {
    const why = await sure.ask(`${countsInWords("PLAN", job.syncReport)}. It is done over the version of the table that the plan read.`);
    if (why !== null) await send(apply, ":apply", { jobId: job.jobId, ...(why ? { reason: why } : {}) }, "The plan is being applied.", jobLink);
  } }, "Apply this plan");
  const repair = h("button", { type: "button", hidden: true, click: () =>
    send(repair, ":verify", { repair: true }, "What is missing or different is being sent.", (jobId) => syncLink(name, `/reports/${encodeURIComponent(jobId)}`)) }, "Verify again and repair");
  const letGo = h("button", { type: "button", hidden: true, click: () => accept.ask(job.jobId, job.syncReport) }, "Accept deletes");
  return {
    element: h("div", {}, h("div.buttons", { role: "group", "aria-label": "Control" }, apply, repair, letGo), note, sure.element, accept.element),
    update(now, allowed) {
      job = now;
      const done = job.status === "COMPLETED";
      const counts = job.syncReport?.counts ?? {};
      const old = done && (Date.now() - Date.parse(job.endTime)) / 1000 > PLAN_HOLDS_S;
      const plan = job.kind === "PLAN" && done;
      set(apply, "hidden", !plan || old || !allowed("EDITOR"));
      set(repair, "hidden", job.kind !== "VERIFY" || !done || !(counts.created || counts.updated) || !allowed("OPERATOR"));
      set(letGo, "hidden", !done || !allowed("EDITOR") || !acceptable(job.kind, job.syncReport));
      text(note, !plan ? "" : old ? "A plan holds for an hour. Make a new one to apply it." : allowed("EDITOR") ? "" : `To apply it you need the role EDITOR on ${job.spec.source}.`);
      set(note, "hidden", !note.textContent);
    },
  };
}

function contents(job, changes) {
  const names = SECTIONS[job.kind] ?? SECTIONS.RUN;
  const report = job.syncReport ?? {};
  const kinds = Object.keys(names).map((kind) => [kind, changes.filter((change) => change.kind === kind)]).filter(([, some]) => some.length);
  return [
    job.error && h("section.notice", { "aria-label": "Why it failed" }, h("h2", {}, "Failed"), h("p", {}, `${reason(job.error.reason)}: ${job.error.message}`)),
    reportPanel(job.kind, report),
    ...kinds.map(([kind, some]) => section(names[kind], some, report.counts?.[COUNT_OF[kind]] ?? some.length)),
    !kinds.length && h("p.quiet", {}, job.redacted ? "The items are not shown to you: they need the role READER." : "No items to show."),
  ].filter(Boolean);
}

/** The counts of a report, what was withheld and why, and warnings: for this view and for the job's. */
export function reportPanel(kind, report) {
  const held = withheld(report);
  const facts = countsOf(kind, report).filter(([, number, key]) => number || ["created", "updated", "unchanged", "deleted"].includes(key));
  const more = [
    report.mode && words(report.mode) && ["Read", `${words(report.mode).toLowerCase()}${report.whole ? ", all rows" : ""}`],
    report.nullCursorCount > 0 && ["Rows without a cursor", count(report.nullCursorCount)],
    report.aboveCeilingCount > 0 && ["Above the ceiling", count(report.aboveCeilingCount)],
    report.watermark && ["Watermark", report.watermark],
    report.version !== undefined && ["Version of the table", String(report.version)],
  ].filter(Boolean);
  return h("section.panel", { "aria-label": "Counts" },
    h("dl.facts.big", {}, facts.map(([fact, number]) => h("div", { "data-fact": fact }, h("dt", {}, fact[0].toUpperCase() + fact.slice(1)), h("dd", {}, count(number))))),
    more.length > 0 && h("dl.facts.spec", {}, more.map(([fact, value]) => h("div", {}, h("dt", {}, fact), h("dd", {}, value)))),
    held && h("p.amber", {}, kind === "PLAN" ? held.replace("were withheld", "would be withheld") : held),
    (report.warnings ?? []).map((warning) => h("p.amber", {}, warning)));
}

function section(title, changes, total) {
  const shown = changes.length < total ? `the first ${count(changes.length)} of ${count(total)}` : count(changes.length);
  const body = h("tbody", {}, changes.map(changeRow));
  return h("details.reason", { open: true }, h("summary", {}, h("span", {}, title), h("span.number", {}, shown)),
    h("table.rows.changes", {}, h("caption.unseen", {}, title), h("thead", {}, h("tr", {}, ["Item", "What differs"].map((column) => h("th", { scope: "col" }, column)))), body));
}

function changeRow(change) {
  const fields = change.fields.map(({ field, before, after }) =>
    h("li", {}, h("code", {}, field), ": ", value("before", before), " → ", value("after", after)));
  return h("tr", {}, h("th.mono", { scope: "row" }, change.itemId || "no id"),
    h("td.wide", { "data-name": "What differs" }, fields.length ? h("ul.differences", {}, fields) : "", change.detail ? h("p", {}, change.detail) : fields.length ? "" : "–"));
}

const value = (side, json) => (json ? h(side === "before" ? "del" : "ins", {}, json) : h("span.quiet", {}, "not there"));
