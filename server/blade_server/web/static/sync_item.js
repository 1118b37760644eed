// What a sync knows of one item.

import { Refused, get } from "./api.js";
import { h, set, text } from "./dom.js";
import { moment } from "./format.js";
import { jobLink, syncPath } from "./sync_words.js";

const STATES = {
  SENT: "It is in the destination as it was sent.",
  DIRTY: "Its last upload or reading failed; the next run reads it again.",
  UNCERTAIN: "It may have been sent or deleted when a run ended early; the next run looks it up.",
  MISSING: "The last run over all rows did not show it; its delete was withheld, or is not asked for.",
};

export function syncItem(name, signal) {
  const input = h("input", { id: "item", required: true, autocomplete: "off", spellcheck: "false" });
  const result = h("div", { role: "status" });
  const look = async (event) => {
    event.preventDefault();
    text(result, "Looking it up …");
    try {
      show(result, await get(syncPath(name, `/items/${encodeURIComponent(input.value.trim())}`), signal));
    } catch (error) {
      if (signal.aborted) return;
      text(result, error.message);
      if (!(error instanceof Refused)) throw error;
    }
  };
  const form = h("form.row", { submit: look }, h("div.field", {}, h("label", { for: input.id }, "Item id"), input), h("button", { type: "submit" }, "Look up"));
  const element = h("section.panel", { "aria-labelledby": "one-item", hidden: true }, h("h2", { id: "one-item" }, "What it knows of an item"), form, result);
  return {
    element,
    update: (allowed) => set(element, "hidden", !allowed),
  };
}

function show(result, item) {
  const facts = [
    item.jobId && ["Sent by", h("a.mono", { href: jobLink(item.jobId) }, item.runNumber ? `run ${item.runNumber}` : item.jobId)],
    item.sentTime && ["Sent", moment(item.sentTime)],
    item.missingSince && ["Missing since", moment(item.missingSince)],
  ].filter(Boolean);
  result.replaceChildren(h("p", {}, h("strong.mono", {}, item.itemId), ": ", STATES[item.state] ?? item.state),
    h("dl.facts", {}, facts.map(([fact, value]) => h("div", {}, h("dt", {}, fact), h("dd", {}, value)))));
}
