// For AUDITORs: who did what, newest first, and whether the log is whole.

import { Refused, get } from "./api.js";
import { h, set, text } from "./dom.js";
import { count, moment, words } from "./format.js";

const PAGE = 100;
const COLUMNS = ["Number", "Time", "Who", "What", "How it ended"];

export function showAudit(main, parameters) {
  const abort = new AbortController();
  const asked = Object.fromEntries(["principal", "method", "object", "outcomes"].map((name) => [name, parameters.get(name) ?? ""]));
  const inputs = {
    principal: h("input", { id: "principal", value: asked.principal, autocomplete: "off", spellcheck: "false" }),
    method: h("input", { id: "method", value: asked.method, placeholder: "CancelJob", autocomplete: "off", spellcheck: "false" }),
    object: h("input", { id: "object", value: asked.object, placeholder: "job:ID, source:NAME", autocomplete: "off", spellcheck: "false" }),
    outcomes: h("select", { id: "outcomes" }, ["", "DONE", "BEGUN", "FAILED", "REFUSED"].map((name) => h("option", { value: name, selected: name === asked.outcomes }, words(name) || "any"))),
    after: h("input", { id: "after", type: "datetime-local", value: parameters.get("after") ?? "" }),
    before: h("input", { id: "before", type: "datetime-local", value: parameters.get("before") ?? "" }),
  };
  const labels = { principal: "Who", method: "Method", object: "About", outcomes: "How it ended", after: "From", before: "Until" };
  const form = h("form.panel", { submit: (event) => {
    event.preventDefault();
    const wanted = Object.entries(inputs).map(([name, input]) => [name, input.value.trim()]).filter(([, value]) => value);
    const hash = `#/audit${wanted.length ? `?${new URLSearchParams(wanted)}` : ""}`;
    if (hash === location.hash) list.again();
    else location.hash = hash;
  } },
    h("div.grid", {}, Object.entries(inputs).map(([name, input]) => h("div.field", {}, h("label", { for: name }, labels[name]), input))),
    h("div.buttons", {}, h("button.primary", { type: "submit" }, "Show"), h("a.button", { href: "/audit:export", download: "audit.json" }, "Export")));
  const list = entries(query(inputs), abort.signal);
  main.append(h("h1", {}, "Audit log"), verification(abort.signal), form, list.element);
  list.again();
  return { stop: () => abort.abort() };
}

function query(inputs) {
  const found = [["pageSize", PAGE]];
  for (const [name, { value }] of Object.entries(inputs)) {
    if (value) found.push([name, name === "after" || name === "before" ? new Date(value).toISOString() : value.trim()]);
  }
  return found;
}

function entries(filter, signal) {
  let token = "";
  const body = h("tbody");
  const table = h("table.rows.free.audit", { hidden: true }, h("caption.unseen", {}, "Entries, newest first"),
    h("thead", {}, h("tr", {}, COLUMNS.map((name) => h("th", { scope: "col" }, name)))), body);
  const note = h("p.quiet", { role: "status" }, "Loading");
  const more = h("button", { type: "button", hidden: true, click: () => load() }, "Show older ones");
  const load = async () => {
    if (more.getAttribute("aria-disabled")) return;
    set(more, "aria-disabled", "true");
    try {
      const answer = await get(`/audit?${new URLSearchParams([...filter, ["pageToken", token]])}`, signal);
      token = answer.nextPageToken;
      body.append(...answer.entries.map(row));
      set(table, "hidden", !body.childElementCount);
      text(note, body.childElementCount ? shown(body.childElementCount) : "No entry like this.");
      set(more, "hidden", !token);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Refused)) throw error;
      text(note, error.message);
    } finally {
      set(more, "aria-disabled", null);
    }
  };
  return {
    element: h("section", { "aria-label": "Entries" }, table, note, more),
    again() {
      token = "";
      body.replaceChildren();
      return load();
    },
  };
}

const shown = (number) => `${count(number)} ${number === 1 ? "entry" : "entries"} shown`;

function row(entry) {
  const claimed = entry.actor && entry.actor !== entry.principal ? ` (says: ${entry.actor})` : "";
  return h("tr", { "data-outcome": entry.outcome },
    h("th", { scope: "row" }, count(entry.number)),
    h("td", { "data-name": "Time" }, moment(entry.time)),
    h("td", { "data-name": "Who" }, `${entry.principal || "unknown"}${claimed}`, h("small", {}, [entry.kind, entry.address].filter(Boolean).join(", "))),
    h("td", { "data-name": "What" }, entry.method.split("/").at(-1), h("small.mono", {}, entry.object), entry.reason && h("small", {}, `“${entry.reason}”`)),
    h("td", { "data-name": "How it ended" }, h("span.badge", { "data-status": entry.outcome }, words(entry.outcome)), entry.detail && h("small", {}, entry.detail)));
}

function verification(signal) {
  const result = h("p", { role: "status" });
  const button = h("button", { type: "button", click: async () => {
    if (button.getAttribute("aria-disabled")) return;
    set(button, "aria-disabled", "true");
    text(result, "Reading the whole log …");
    try {
      const found = await get("/audit:verify", signal);
      set(result, "data-bad", !found.intact);
      text(result, found.intact
        ? `Intact: ${count(found.entryCount)} entries, up to number ${count(found.headNumber)}, ${found.headHash}`
        : `Not intact, from number ${count(found.firstWrong)} on: ${found.problem}`);
    } catch (error) {
      if (signal.aborted) return;
      text(result, error.message);
    } finally {
      set(button, "aria-disabled", null);
    }
  } }, "Verify");
  return h("section.panel.verify", { "aria-label": "Verification" },
    h("p.quiet", {}, "Each entry is bound to the one before it. Keep the hash of the last one elsewhere: a tail that was cut off shows against it alone."),
    h("div.buttons", {}, button), result);
}
