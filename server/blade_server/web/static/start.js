// Starting a job: say what, look at the first items, start it.

import { Refused, get, jobPath, post, requestId } from "./api.js";
import { h, say, set, text, toast } from "./dom.js";
import { row, rowTable } from "./errors.js";
import { clear, complain, field } from "./fields.js";
import { count, moment } from "./format.js";
import { anywhere } from "./session.js";

const FIELDS = [
  { name: "batchSize", label: "Items in one upload", type: "number", min: 1, max: 1000, hint: "Default 100" },
  { name: "workers", label: "Upload workers", type: "number", min: 1, max: 64, hint: "Default: the server's" },
  { name: "itemsPerSecond", label: "Items per second, at most", type: "number", min: 0.01, step: "any", hint: "Default: no limit" },
  { name: "maxErrors", label: "Fail after this many errors", type: "number", min: 0, hint: "Default: no limit" },
  { name: "destination", label: "Destination", type: "text", hint: "Default: the source's" },
  { name: "classification", label: "Classification of all items", type: "text", hint: "Default: from the mapping" },
  { name: "itemId", label: "Template of the item ids", type: "text", hint: "Such as {carrier}-{day:%Y}. Default: from the mapping" },
  { name: "lastModified", label: "Column with the last change", type: "text", hint: "Default: from the mapping" },
];
const OVERRIDES = ["classification", "itemId", "lastModified"];

export function showStart(main, parameters) {
  const abort = new AbortController();
  const wanted = parameters.get("source") ?? "";
  const source = h("select", { id: "source", name: "source" }, h("option", { value: "" }, "the one the SQL names"));
  const sql = h("textarea", { id: "sql", name: "sql", rows: 6, spellcheck: "false", autocapitalize: "off", "aria-describedby": "sql-hint sql-error" });
  const limit = h("input", { id: "limit", type: "number", min: 1, max: 1000, value: 10, required: true, "aria-describedby": "limit-error" });
  const options = FIELDS.map((field) => h("input", { id: field.name, type: field.type, min: field.min, max: field.max, step: field.step, "aria-describedby": `${field.name}-hint ${field.name}-error` }));
  const skip = h("input", { id: "skipExisting", type: "checkbox" });
  const problem = h("p.notice", { role: "alert", hidden: true });
  const result = h("section", { "aria-labelledby": "preview", hidden: true });
  const preview = h("button.primary", { type: "submit" }, "Preview");
  const start = h("button", { type: "button", hidden: !anywhere("OPERATOR") }, "Start the job");
  const denied = h("p.quiet", { hidden: anywhere("OPERATOR") }, "To start a job you need the role OPERATOR on its source.");
  const copied = h("p.quiet", { hidden: true });
  let base = {}; // what a copied job has and no field shows
  let attempt = requestId();

  const asked = () => {
    const body = { sql: sql.value.trim(), source: source.value };
    const values = Object.fromEntries(FIELDS.map((field, index) => [field.name, options[index].value.trim()]).filter(([, value]) => value !== ""));
    for (const field of FIELDS) if (field.type === "number" && field.name in values) values[field.name] = Number(values[field.name]);
    return { body, values };
  };
  const run = async (button, work) => {
    if (button.getAttribute("aria-disabled") || !form.reportValidity()) return;
    set(button, "aria-disabled", "true");
    clear(form, problem);
    try {
      await work();
    } catch (error) {
      if (abort.signal.aborted) return;
      if (!(error instanceof Refused)) throw error;
      complain(form, problem, error);
    } finally {
      set(button, "aria-disabled", null);
    }
  };
  const form = h("form.panel", {
    submit: (event) => {
      event.preventDefault();
      run(preview, async () => {
        const { body, values } = asked();
        const overrides = Object.fromEntries(OVERRIDES.filter((name) => name in values).map((name) => [name, values[name]]));
        say("Asking for a preview");
        const answer = await post("/jobs/blade/query/preview", { ...body, ...overrides, limit: Number(limit.value) }, abort.signal);
        showPreview(result, answer);
      });
    },
    input: () => (attempt = requestId()), // another body is another job
  },
    field("Source", source, ""),
    field("SQL", sql, "One SELECT. Name the table by its own name, the source's name or its data type. Empty: every row of the source."),
    h("details.options", {}, h("summary", {}, "Options"), h("div.grid", {}, FIELDS.map((one, index) => field(one.label, options[index], one.hint))),
      h("label.check", { for: "skipExisting" }, skip, "Skip items that the catalog has already")),
    problem,
    h("div.buttons", {}, field("Rows to preview", limit, ""), preview, start), denied);
  start.addEventListener("click", () => run(start, async () => {
    const { body, values } = asked();
    const job = await post("/jobs/blade/query/start", { ...base, ...body, ...values, skipExisting: skip.checked, requestId: attempt }, abort.signal);
    toast("The job was started.");
    location.hash = `#/jobs/${encodeURIComponent(job.jobId)}`;
  }));

  main.append(h("h1", {}, "Start a job"), h("p.quiet", {}, "A preview shows what would be uploaded. Nothing is written until the job is started."), copied, form, result);
  const model = parameters.get("job") ?? "";
  const copy = async () => {
    const job = await get(jobPath(model), abort.signal);
    if (job.redacted) throw new Refused({ code: 403, message: `To copy ${model} you need the role READER on ${job.spec.source}.` });
    const values = { ...job.spec, ...(job.spec.limits ?? {}) };
    sql.value = values.sql;
    source.value = values.source;
    skip.checked = values.skipExisting;
    FIELDS.forEach((field, index) => (options[index].value = values[field.name] || (field.name === "maxErrors" && values.maxErrors === 0) ? values[field.name] : ""));
    base = { metadata: values.metadata ?? {}, ...(values.maxErrorShare === undefined ? {} : { maxErrorShare: values.maxErrorShare }), ...(values.lastModified === "" ? { lastModified: "" } : {}) };
    const unseen = [...Object.entries(base.metadata).map(([key, value]) => `metadata ${key}=${value}`), values.maxErrorShare !== undefined && `at most ${values.maxErrorShare * 100} % errors`].filter(Boolean);
    text(copied, `As ${model} was asked for${unseen.length ? `, with ${unseen.join(", ")}` : ""}.`);
    set(copied, "hidden", null);
  };
  get("/configure/blade?pageSize=1000", abort.signal).then(({ sources }) => {
    for (const one of sources) source.append(h("option", { value: one.name, disabled: one.enabled === false }, `${one.displayName || one.name} (${one.dataType})`));
    source.value = wanted;
    if (source.selectedIndex < 0) source.value = "";
    return model && copy();
  }).catch((error) => abort.signal.aborted || toast(error.message, "error"));
  return { stop: () => abort.abort() };
}

function showPreview(result, { items, rejections, itemIds }) {
  const columns = ["Item", "Classification", "Last modified", "Data"];
  const body = h("tbody", {}, items.map((item) => h("tr", {},
    h("th.mono", { scope: "row" }, item.itemId),
    h("td", { "data-name": "Classification" }, item.classification),
    h("td", { "data-name": "Last modified" }, item.lastModified ? moment(item.lastModified) : "–"),
    h("td.wide", { "data-name": "Data" }, h("details", {}, h("summary", {}, summary(item.data)), h("pre", {}, JSON.stringify({ data: item.data, metadata: item.metadata }, null, 2)))))));
  const rejected = h("tbody", {}, rejections.map((rejection) => row({ ...rejection, stage: "TRANSFORM", attempts: 1 })));
  const heading = h("h2", { id: "preview", tabindex: "-1" }, `Preview: ${count(items.length)} items, ${count(rejections.length)} rejected`);
  result.replaceChildren(heading,
    itemIds ? h(itemIds.duplicateCount || itemIds.missingCount ? "p.bad" : "p.quiet", {}, `Item ids: ${itemIds.message}`) : "",
    items.length ? h("table.rows.items", {}, h("caption.unseen", {}, "Items as they would be uploaded"), h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))), body) : h("p", {}, "No row became an item."),
    rejections.length ? h("div", {}, h("h3", {}, "Rejected rows"), rowTable("Rejected rows", rejected)) : "");
  result.hidden = false;
  heading.focus();
}

function summary(data) {
  const line = Object.entries(data).map(([key, value]) => `${key}: ${value === null ? "null" : typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
  return line.length > 140 ? line.slice(0, 140) + "…" : line;
}
