// The bar: what was uploaded, left out and refused, as shares of the whole.

import { h, set } from "./dom.js";
import { count, percent } from "./format.js";

export function bar(label) {
  const parts = ["success", "skipped", "error"].map((kind) => h("span", { "data-kind": kind }));
  const element = h("div.bar-track", { role: "progressbar", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100 }, parts);
  return {
    element,
    update(job) {
      const total = job.totalItems;
      const known = total !== undefined;
      // Without a total the bar only says that something moves, or that it is done.
      const whole = known ? Math.max(1, total) : Math.max(1, job.processedItems);
      const unknown = !known && job.status === "RUNNING";
      const shares = [job.successCount, job.skippedCount, job.errorCount];
      parts.forEach((part, index) => {
        const width = unknown || (!known && !job.endTime) ? "" : `${((100 * shares[index]) / whole).toFixed(2)}%`;
        if (part.style.width !== width) part.style.width = width;
      });
      set(element, "data-unknown", unknown && !job.waitReason.includes("_DOWN"));
      set(element, "data-status", job.status);
      set(element, "aria-valuenow", known ? Math.floor((100 * job.processedItems) / whole) : null);
      set(element, "aria-valuetext", known
        ? `${percent(job.processedItems, whole) || "0 %"}, ${count(job.processedItems)} of ${count(total)}`
        : `${count(job.processedItems)} rows, total unknown`);
    },
  };
}
