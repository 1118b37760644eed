// One job: how far it is, what went wrong, what was done to it, and the buttons to do more.

import { Refused, jobPath, post, requestId } from "./api.js";
import { confirmation } from "./dialog.js";
import { h, say, set, text, toast } from "./dom.js";
import { showErrors } from "./errors.js";
import { getJob, remember, remembered, watch } from "./feed.js";
import { ago, bytes, clock, count, duration, moment, reason, shownStatus, took, words } from "./format.js";
import { amount, badge } from "./overview.js";
import { plot, runningSeconds } from "./plot.js";
import { bar } from "./progress.js";
import { may } from "./session.js";
import { reportPanel } from "./sync_report.js";
import { KINDS, reportLink, syncLink } from "./sync_words.js";

const ACTIONS = [
  { verb: ":pause", label: "Pause", done: "Pause asked for.", when: (job) => job.status === "RUNNING" && job.pendingAction === "ACTION_UNSPECIFIED" },
  { verb: ":resume", label: "Resume", done: "The job goes on.", when: (job) => job.status === "PAUSED" || job.pendingAction === "PAUSE" },
  { verb: ":cancel", label: "Cancel", done: "Cancelled.", ask: true, when: (job) => !job.endTime && job.pendingAction !== "CANCEL" },
  { verb: ":retry", label: "Retry failed", done: "A new job retries the failed items.", when: (job) => Boolean(job.endTime) && job.errorCount > 0 && !job.sync },
];

export function showJob(main, id) {
  const parts = [heading(id), figures(), wrong(), found(), rates(id), showErrors(id), asked(), history()];
  const body = h("div", { hidden: true }, parts.slice(1).map((part) => part.element));
  const missing = h("p.notice", { role: "alert", hidden: true });
  main.append(h("p.back", {}, h("a", { href: "#/" }, "All jobs")), parts[0].element, missing, body);

  let job = null;
  let stream = null;
  let stopped = false;
  const abort = new AbortController();
  const take = (now) => {
    const before = job;
    if (before && now.revision < before.revision) return; // overtaken by the answer to a button
    // The stream carries no history, and the answer to a button no errors; what is known stays until the next look-up.
    job = {
      ...now,
      history: now.history.length ? now.history : before?.history ?? [],
      errorSummaries: now.errorSummaries.length ? now.errorSummaries : before?.errorSummaries ?? [],
    };
    remember(job);
    set(body, "hidden", null);
    for (const part of parts) part.update(job);
    if (before && before.status !== job.status) say(`The job is ${words(shownStatus(job)).toLowerCase()} now.`);
    const changed = before && (before.status !== job.status || before.pendingAction !== job.pendingAction);
    if (changed && !now.history.length) look();
  };
  const look = async () => {
    try {
      const found = await getJob(id, abort.signal);
      if (stopped) return;
      take(found);
      set(missing, "hidden", true);
      stream ??= watch(id, take);
    } catch (error) {
      if (stopped) return;
      text(missing, error.message);
      set(missing, "hidden", null);
      if (error.code !== 404) setTimeout(look, 2000);
    }
  };
  parts[0].onAnswer = (answer) => {
    if (answer.jobId !== id) location.hash = `#/jobs/${encodeURIComponent(answer.jobId)}`;
    else take(answer);
  };
  parts[0].onFailure = look;
  look();
  const tick = setInterval(() => job && parts[1].update(job), 1000); // times go on while nothing is sent
  return {
    stop() {
      stopped = true;
      clearInterval(tick);
      stream?.stop();
      abort.abort();
    },
  };
}

function heading(id) {
  const status = badge();
  const parent = h("p", { hidden: true });
  const dialog = confirmation({
    title: "Cancel this job for good?",
    about: "What was uploaded stays in the catalog. A cancelled job cannot be resumed.",
    yes: "Cancel the job",
    no: "Let it run",
  });
  const denied = h("p.quiet", { hidden: true });
  const order = h("p", { hidden: true });
  const copy = h("a.button", { href: `#/start?job=${encodeURIComponent(id)}`, hidden: true }, "Start one like it");
  const part = { onAnswer: () => {}, onFailure: () => {} };
  const act = async (action, button) => {
    if (button.getAttribute("aria-disabled")) return;
    const why = action.ask ? await dialog.ask() : "";
    if (why === null) return;
    set(button, "aria-disabled", "true");
    const body = { ...(why ? { reason: why } : {}), ...(action.verb === ":retry" ? { requestId: requestId() } : {}) };
    try {
      part.onAnswer(await post(jobPath(id, action.verb), body));
      toast(action.done);
    } catch (error) {
      toast(error.message, "error");
      part.onFailure();
      if (!(error instanceof Refused)) throw error;
    } finally {
      set(button, "aria-disabled", null);
    }
  };
  const buttons = ACTIONS.map((action) => {
    const button = h("button", { type: "button", hidden: true, "data-verb": action.verb, click: () => act(action, button) }, action.label);
    return button;
  });
  const title = h("h1.mono", {}, id);
  part.element = h("header.job", {}, h("div.title", {}, title, status.element), h("div.buttons", { role: "group", "aria-label": "Control" }, buttons, copy), denied, order, parent, dialog.element);
  part.update = (job) => {
    status.update(job);
    const focused = buttons.indexOf(document.activeElement);
    const allowed = may("OPERATOR", job.spec.source, job.spec.dataType);
    ACTIONS.forEach((action, index) => set(buttons[index], "hidden", !allowed || !action.when(job)));
    text(denied, `To control this job you need the role OPERATOR on ${job.spec.source}.`);
    set(denied, "hidden", allowed);
    // A button that goes away must not take the focus with it.
    if (focused >= 0 && buttons[focused].hidden) (buttons.find((button) => !button.hidden) ?? focusable(title)).focus();
    set(copy, "hidden", job.kind !== "QUERY" || job.redacted || !may("READER", job.spec.source, job.spec.dataType));
    if (job.sync && order.hidden) {
      order.append(`${KINDS[job.kind] ?? words(job.kind)} of the sync `, h("a.mono", { href: syncLink(job.sync) }, job.sync));
      order.hidden = false;
    }
    if (job.parentJobId && parent.hidden) {
      parent.append("Retries the failed items of ", h("a.mono", { href: `#/jobs/${encodeURIComponent(job.parentJobId)}` }, job.parentJobId));
      parent.hidden = false;
    }
  };
  return part;
}

function focusable(element) {
  element.tabIndex = -1;
  return element;
}

function figures() {
  const progress = bar("Progress");
  const headline = h("p.headline");
  const doing = h("p.quiet.doing");
  const names = ["Uploaded", "Failed", "Skipped", "Rate", "Sent", "Ends", "Running for", "Warehouse"];
  const values = Object.fromEntries(names.map((name) => [name, h("dd")]));
  const facts = h("dl.facts.big", {}, names.map((name) => h("div", { "data-fact": name }, h("dt", {}, name), values[name])));
  const endLabel = values.Ends.previousElementSibling;
  return {
    element: h("section.panel", { "aria-label": "Progress" }, headline, progress.element, doing, facts),
    update(job) {
      progress.update(job);
      text(headline, amount(job) || "Not begun yet");
      text(doing, doingNow(job));
      set(doing, "data-waiting", Boolean(words(job.waitReason)));
      text(values.Uploaded, count(job.successCount));
      text(values.Failed, count(job.errorCount));
      text(values.Skipped, count(job.skippedCount));
      text(values.Rate, job.status === "RUNNING" ? `${job.itemsPerSecond.toFixed(job.itemsPerSecond < 10 ? 1 : 0)}/s` : "–");
      text(values.Sent, bytes(job.bytesUploaded));
      text(endLabel, job.endTime ? "Ended" : "Ends");
      showEnd(values.Ends, job);
      text(values["Running for"], job.startTime ? duration(runningSeconds(job)) : "–");
      text(values.Warehouse, took(job.cost));
      set(values.Failed, "data-bad", job.errorCount > 0);
    },
  };
}

function doingNow(job) {
  const pending = { PAUSE: "Pausing: uploads in flight are being finished.", CANCEL: "Cancelling: uploads in flight are being finished." };
  if (pending[job.pendingAction]) return pending[job.pendingAction];
  const wait = words(job.waitReason);
  if (wait) return `Waiting: ${wait.toLowerCase()}${job.waitDetail ? `. ${job.waitDetail}` : ""}`;
  return job.endTime ? "" : job.currentOperation;
}

function showEnd(place, job) {
  const at = job.endTime ?? job.estimatedCompletion;
  const left = (Date.parse(at) - Date.now()) / 1000;
  const [main, detail] = !at ? ["–", ""] : job.endTime ? [ago(at), moment(at)] : [`in ${duration(left)}`, clock(at)];
  if (!place.firstChild) place.append(h("span"), h("small"));
  text(place.firstChild, main);
  text(place.lastChild, detail);
}

function wrong() {
  const message = h("p");
  const element = h("section.notice", { "aria-label": "Why it failed", hidden: true }, h("h2", {}, "Failed"), message);
  return {
    element,
    update(job) {
      set(element, "hidden", !job.error);
      if (job.error) text(message, `${reason(job.error.reason)}: ${job.error.message}`);
    },
  };
}

/** What a job of a sync found and did, once there is something. */
function found() {
  const place = h("div");
  const more = h("p");
  const element = h("section", { "aria-labelledby": "found", hidden: true }, h("h2", { id: "found" }, "What it did"), place, more);
  let shown = "";
  return {
    element,
    update(job) {
      const key = JSON.stringify(job.syncReport ?? null);
      set(element, "hidden", !job.syncReport);
      if (key === shown || !job.syncReport) return;
      shown = key;
      text(element.firstChild, { PLAN: "What a run would do", VERIFY: "What differs" }[job.kind] ?? "What it did");
      place.replaceChildren(reportPanel(job.kind, job.syncReport));
      more.replaceChildren(may("READER", job.spec.source, job.spec.dataType) ? h("a", { href: reportLink(job.sync, job.jobId) }, "The items, by kind") : "");
    },
  };
}

function rates(id) {
  const picture = plot();
  return {
    element: h("section.panel", { "aria-labelledby": "rate" }, h("h2", { id: "rate" }, "Rate"), picture.element),
    update: (job) => picture.update(remembered(id), job),
  };
}

function asked() {
  const sql = h("pre", { tabindex: "0", "aria-label": "SQL" });
  const list = h("dl.facts");
  return {
    element: h("section.panel", { "aria-labelledby": "asked" }, h("h2", { id: "asked" }, "What was asked for"), sql, list),
    update(job) {
      const { spec } = job;
      text(sql, job.redacted ? `Not shown: it needs the role READER on ${spec.source}.` : spec.sql);
      set(sql, "data-redacted", job.redacted);
      const limits = spec.limits ?? {};
      const facts = [
        ["Kind", words(job.kind)], ["Into", !spec.destination || spec.destination === "default" ? "the server's own catalog" : spec.destination], ["Source", spec.source], ["Data type", spec.dataType], ["Batch size", count(spec.batchSize)], ["Workers", count(spec.workers)],
        ["Items per second", limits.itemsPerSecond ? `at most ${limits.itemsPerSecond}` : "no limit"],
        ["Errors", limits.maxErrors !== undefined ? `at most ${count(limits.maxErrors)}` : limits.maxErrorShare !== undefined ? `at most ${limits.maxErrorShare * 100} %` : "no limit"],
        ["Item id", spec.itemId || "from the mapping"], ["Last modified", spec.lastModified ?? "from the mapping"],
        ["Classification", spec.classification || "from the mapping"], ["Items already there", spec.skipExisting ? "skipped" : "replaced"],
        ["Created", moment(job.createTime)], ...Object.entries(spec.metadata ?? {}).map(([key, value]) => [`Metadata ${key}`, value]),
      ];
      const key = JSON.stringify(facts);
      if (list.dataset.key === key) return;
      list.dataset.key = key;
      list.replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    },
  };
}

function history() {
  const list = h("ol.history");
  return {
    element: h("section.panel", { "aria-labelledby": "history" }, h("h2", { id: "history" }, "History"), list),
    update(job) {
      if (list.childElementCount === job.history.length && list.dataset.last === job.history.at(-1)?.time) return;
      list.dataset.last = job.history.at(-1)?.time ?? "";
      list.replaceChildren(...job.history.map((event) =>
        h("li", {}, h("time", { datetime: event.time }, moment(event.time)), h("strong", {}, words(event.kind)), h("span", {}, event.actor && `by ${event.actor}`),
          (event.reason || event.detail) && h("p.quiet", {}, [event.reason, event.detail].filter(Boolean).join(" · ")))));
    },
  };
}
