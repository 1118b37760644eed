// Syncs in words: what is asked for, what a run did, how late it is.

import { ago, count, duration, moment, words } from "./format.js";

export const MODES = {
  CHANGED: "Reads all rows, sends those that are new or have changed",
  FULL: "Reads all rows and sends all of them",
  INCREMENTAL: "Reads the rows that changed since the last run, by a cursor column",
  CHANGE_FEED: "Reads the change data feed of the table",
};

export const WITHHELD = {
  ROWS_MISSING: "fewer or more rows were read than the warehouse announced",
  NO_ROWS: "the source has no rows",
  ROWS_WITHOUT_ID: "rows had no item id",
  SPEC_CHANGED: "the query, the filter, the mapping or the key was changed",
  MAX_DELETE_SHARE: "more than the allowed share of the items",
  MAX_DELETES: "more than the allowed number",
  NOT_CONFIRMED: "they wait for more runs, or for a longer time",
  DESTINATION_CANNOT_DELETE: "the destination cannot delete",
  NOT_ALL_ROWS: "not all rows were read",
};

// Where somebody can say that the rows are gone for good; see AcceptDeletes.
const ACCEPTABLE = ["MAX_DELETE_SHARE", "MAX_DELETES", "NOT_CONFIRMED", "NO_ROWS"];
const WRITING = ["SYNC", "APPLY", "BACKFILL", "DELETE"];

export const FOUND = {
  VERIFY: { created: "missing there", updated: "different there", unchanged: "equal", deleted: "too much there" },
  PLAN: { created: "to create", updated: "to update", unchanged: "unchanged", deleted: "to delete" },
};
const DONE = { created: "created", updated: "updated", unchanged: "unchanged", deleted: "deleted", withheld: "deletes withheld", failed: "failed", deleteFailed: "deletes failed" };

/** The counts of a report under their names for this kind of job: [[name, number, key]]. */
export function countsOf(kind, report) {
  const names = { ...DONE, ...FOUND[kind] };
  return Object.keys(DONE).map((key) => [names[key], report?.counts?.[key] ?? 0, key]);
}

/** "3 created, 12 unchanged"; what is 0 is left out. */
export function countsInWords(kind, report) {
  const found = countsOf(kind, report).filter(([, number]) => number > 0).map(([name, number]) => `${count(number)} ${name}`);
  return found.join(", ") || "nothing to do";
}

export const seconds = (span) => (span ? Number.parseFloat(span) : 0);

/** "5400s" -> "1 h 30 min" */
export const span = (text) => duration(seconds(text)).replace(/ 0 (min|s)$/, "");

export function lateness(sync) {
  if (!sync.late) return "";
  return sync.lag ? `Late: the last success is ${span(sync.lag)} old, at most ${span(sync.spec.maxAge)} is asked for` : `Late: no success yet, within ${span(sync.spec.maxAge)} was asked for`;
}

export function schedule(spec) {
  const { schedule: due } = spec;
  if (!due) return "by hand only";
  const when = due.cron ? `cron ${due.cron}, ${due.timeZone || "UTC"}` : `every ${span(due.every)}`;
  const more = [
    seconds(due.jitter) > 0 && `up to ${span(due.jitter)} later`,
    due.overlap === "QUEUE_ONE" ? "one waits while another runs" : "left out while another runs",
    due.catchUp === "LATEST" && `the latest missed one is caught up within ${span(due.catchUpWindow)}`,
  ];
  return [when, ...more.filter(Boolean)].join("; ");
}

export function deletes(spec) {
  if (spec.deletes !== "DELETE") return "kept: items stay when their rows are gone";
  const guards = spec.guards ?? {};
  const held = [
    guards.maxDeleteShare !== undefined && `more than ${+(guards.maxDeleteShare * 100).toFixed(3)} % of the items`,
    guards.maxDeletes !== undefined && `more than ${count(guards.maxDeletes)} in a run`,
    guards.confirmRuns > 1 && `fewer than ${count(guards.confirmRuns)} runs have missed it`,
    seconds(guards.grace) > 0 && `missing for less than ${span(guards.grace)}`,
  ].filter(Boolean);
  return `deleted when their rows are gone${held.length ? `; held back if: ${held.join(", ")}` : ""}`;
}

/** What is asked for: [[name, words]]. */
export function specInWords(sync) {
  const { spec } = sync;
  const { cursor } = spec;
  const limits = spec.limits ?? {};
  const hidden = sync.redacted ? `not shown: it needs the role READER on ${spec.source}` : "";
  return [
    ["Source", spec.source],
    ["Rows", spec.sql || (spec.filter ? `where ${spec.filter}` : hidden || "every row of the source")],
    ["Into", !spec.destination || spec.destination === "default" ? "the server's own catalog" : spec.destination],
    ["Reads and sends", MODES[spec.mode] ?? words(spec.mode)],
    cursor && ["Cursor", [cursor.column, seconds(cursor.lag) > 0 && `read again from ${span(cursor.lag)} before`, seconds(cursor.fullEvery) > 0 && `all rows every ${span(cursor.fullEvery)}`, cursor.nullCursor === "REJECT" ? "rows without a value are errors" : "rows without a value are read each time"].filter(Boolean).join("; ")],
    ["Runs", schedule(spec)],
    ["Deletes", deletes(spec)],
    ["Errors of a run", limits.maxErrors !== undefined ? `at most ${count(limits.maxErrors)}` : limits.maxErrorShare !== undefined ? `at most ${+(limits.maxErrorShare * 100).toFixed(3)} %` : "no limit"],
    spec.maxAge && ["Late after", span(spec.maxAge)],
    spec.pauseAfterFailures > 0 && ["Pauses itself", `after ${count(spec.pauseAfterFailures)} failed runs in a row`],
    spec.notifications?.length > 0 && ["Tells", spec.notifications.join(", ")],
    spec.adopt && ["Items already there", "the first run takes equal ones for its own"],
    spec.scope && ["Scope", spec.scope],
    spec.classification && ["Classification", spec.classification],
    spec.itemId && ["Item id", spec.itemId],
    ...Object.entries(spec.metadata ?? {}).map(([key, value]) => [`Metadata ${key}`, value]),
    ["Owner", sync.owner || "nobody"],
    ["Changed", moment(sync.updateTime)],
  ].filter(Boolean);
}

export const lastSuccess = (sync) => (sync.lastSuccessTime ? ago(sync.lastSuccessTime) : "never");

export function nextRun(sync) {
  if (sync.paused) return "paused";
  if (!sync.nextRunTime) return "by hand";
  const left = (Date.parse(sync.nextRunTime) - Date.now()) / 1000;
  return left < 1 ? "now" : `in ${duration(left)}`;
}

/** Why deletes of this run were withheld, in words; "" if none were. */
export function withheld(report) {
  const number = report?.counts?.withheld ?? 0;
  if (!number || !words(report.withheldReason)) return "";
  return `${count(number)} deletes were withheld: ${report.withheldDetail || WITHHELD[report.withheldReason] || words(report.withheldReason)}`;
}

/** Whether AcceptDeletes could let go what this run withheld. */
export const acceptable = (kind, report) => WRITING.includes(kind) && (report?.counts?.withheld ?? 0) > 0 && ACCEPTABLE.includes(report.withheldReason);

export const syncPath = (name, verb = "") => `/syncs/${encodeURIComponent(name)}${verb}`;
export const syncLink = (name, rest = "") => `#/syncs/${encodeURIComponent(name)}${rest}`;
export const reportLink = (name, jobId) => syncLink(name, `/reports/${encodeURIComponent(jobId)}`);
export const jobLink = (jobId) => `#/jobs/${encodeURIComponent(jobId)}`;

/** What a job of a sync is, in words. */
export const KINDS = { SYNC: "Run", PLAN: "Plan", APPLY: "Applied plan", VERIFY: "Verification", BACKFILL: "Backfill", DELETE: "Accepted deletes", QUERY: "Query" };
