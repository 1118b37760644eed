// The question before deletes that a guard withheld are let go: how many, which, and why.

import { Refused, get, post, requestId } from "./api.js";
import { confirmation } from "./dialog.js";
import { h, set, text, toast } from "./dom.js";
import { count } from "./format.js";
import { jobLink, syncPath, withheld } from "./sync_words.js";

/** `ask(jobId, report)`: of the run whose deletes were withheld. */
export function acceptDeletes(name) {
  const which = h("p.quiet");
  const list = h("ul.ids", { tabindex: "0", "aria-label": "The items" });
  const emptied = h("input", { id: "force-empty", type: "checkbox" });
  const empty = h("label.check", { for: emptied.id, hidden: true }, emptied, "The source is meant to be empty: delete all that the sync has sent");
  const dialog = confirmation({ title: "", about: "", yes: "Delete them", no: "Leave them", required: true, more: [which, list, empty] });
  return {
    element: dialog.element,
    async ask(jobId, report) {
      try {
        const number = report.counts.withheld;
        const { changes } = await get(syncPath(name, `/runs/${encodeURIComponent(jobId)}/report`));
        const shown = changes.filter(({ kind }) => kind === "WITHHELD");
        list.replaceChildren(...shown.map(({ itemId }) => h("li.mono", {}, itemId)));
        set(list, "hidden", !shown.length);
        text(which, !shown.length ? "The run kept no list of them." : shown.length < number ? `The first ${count(shown.length)} of them:` : "These:");
        emptied.checked = false;
        set(empty, "hidden", report.withheldReason !== "NO_ROWS");
        emptied.required = report.withheldReason === "NO_ROWS";
        const why = await dialog.ask(`${withheld(report)}. Those that are still absent from the source are deleted. They do not come back unless their rows do.`,
          `Delete up to ${count(number)} items?`);
        if (why === null) return;
        const job = await post(syncPath(name, ":acceptDeletes"), { jobId, reason: why, forceEmpty: emptied.checked, requestId: requestId() });
        toast("A job deletes them.");
        location.hash = jobLink(job.jobId);
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        toast(error.message, "error");
      }
    },
  };
}
