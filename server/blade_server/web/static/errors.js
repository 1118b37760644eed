// What did not reach the catalog: by reason with samples, and all failing rows page by page.

import { get, jobPath } from "./api.js";
import { h, keyed, set, text, toast } from "./dom.js";
import { saveErrors } from "./errors_csv.js";
import { count, percent, pretty, reason, words } from "./format.js";

const PAGE = 50;

export function showErrors(id) {
  const reasons = h("div");
  const known = new Map();
  const rows = failingRows(id);
  const element = h("section.panel", { "aria-labelledby": "errors", hidden: true }, h("h2", { id: "errors" }, "Failed items"), reasons, rows.element);
  return {
    element,
    update(job) {
      set(element, "hidden", job.errorCount === 0);
      keyed(reasons, known, job.errorSummaries, (one) => one.reason, makeReason(() => job.errorCount));
      rows.update(job);
    },
  };
}

function makeReason(total) {
  return (summary) => {
    const number = h("span.number");
    const table = h("tbody");
    const element = h("details.reason", {}, h("summary", {}, h("span", {}, reason(summary.reason)), number), rowTable(`Samples: ${reason(summary.reason)}`, table));
    let shown = "";
    return {
      element,
      update(now) {
        const same = now.identicalCount ? ` · ${count(now.identicalCount)} equal to the row that stays` : "";
        text(number, `${count(now.count)} · ${percent(now.count, total())}${same}`);
        const key = now.samples.map((sample) => sample.itemId + sample.createTime).join();
        if (key === shown) return; // an opened row stays open
        shown = key;
        table.replaceChildren(...now.samples.map(row));
      },
    };
  };
}

function failingRows(id) {
  let token = "";
  let loaded = 0;
  let newest = 0;
  const body = h("tbody");
  const table = rowTable("All failing rows", body);
  const note = h("p.quiet", { role: "status" });
  const button = h("button", { type: "button", click: () => load() }, "Show all failing rows");
  table.hidden = true;
  const csv = h("button", { type: "button", click: () => save() }, "Save all as CSV");
  const save = async () => {
    if (csv.getAttribute("aria-disabled")) return;
    set(csv, "aria-disabled", "true");
    try {
      const saved = await saveErrors(id);
      toast(saved.whole ? `${count(saved.count)} failing rows were saved.` : `The first ${count(saved.count)} failing rows were saved; the browser cannot hold more. All of them: blade job errors ${id} --format csv --output FILE`);
    } catch (error) {
      toast(error.message, "error");
    } finally {
      set(csv, "aria-disabled", null);
    }
  };
  const load = async () => {
    if (button.getAttribute("aria-disabled")) return;
    set(button, "aria-disabled", "true");
    try {
      const { errors, nextPageToken } = await get(`${jobPath(id)}/errors?${new URLSearchParams({ pageSize: PAGE, pageToken: token })}`);
      token = nextPageToken;
      loaded += errors.length;
      table.hidden = false;
      body.append(...errors.map(row));
      settle();
    } catch (error) {
      toast(error.message, "error");
    } finally {
      set(button, "aria-disabled", null);
    }
  };
  const settle = () => {
    text(note, loaded ? `${count(loaded)} of ${count(Math.max(loaded, newest))} failing rows shown` : "");
    text(button, loaded ? "Show more" : "Show all failing rows");
    set(button, "hidden", loaded > 0 && !token);
  };
  return {
    element: h("div.all-rows", {}, table, h("div.buttons", {}, button, csv, note)),
    update(job) {
      newest = job.errorCount;
      settle();
    },
  };
}

function rowTable(caption, body) {
  const columns = ["Item", "Stage", "What is wrong", "Row"];
  return h("table.rows.errors", {}, h("caption.unseen", {}, caption), h("thead", {}, h("tr", {}, columns.map((name) => h("th", { scope: "col" }, name)))), body);
}

export function row(error) {
  const tries = error.attempts > 1 ? `, ${error.attempts} attempts` : "";
  return h("tr", {},
    h("th.mono", { scope: "row" }, error.redacted ? "not shown" : error.itemId || "no id"),
    h("td", { "data-name": "Stage" }, error.stage ? words(error.stage) : "Transform"),
    h("td.wide", { "data-name": "What is wrong" }, error.field && h("code", {}, error.field), error.field && ": ", error.message || reason(error.reason), tries),
    h("td.wide", { "data-name": "Row" }, error.redacted ? "needs the role READER" : error.rowJson ? h("details", {}, h("summary", {}, "Show"), h("pre", {}, pretty(error.rowJson))) : "–"));
}

export { rowTable };
