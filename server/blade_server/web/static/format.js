// Numbers, times and names as people read them.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

export const count = (value) => whole.format(value ?? 0);

export function rate(perSecond) {
  if (!perSecond) return "–";
  return `${perSecond < 10 ? short.format(perSecond) : whole.format(Math.round(perSecond))}/s`;
}

export function bytes(value) {
  let size = value ?? 0;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (size < 1024) return `${short.format(size)} ${unit}`;
    size /= 1024;
  }
  return `${short.format(size)} TiB`;
}

export function percent(part, total) {
  if (!total) return "";
  // Rounded down: 100 % is said of a job only when nothing is left.
  return `${Math.floor((100 * part) / total)} %`;
}

export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 172800) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} days`;
}

export function ago(timestamp) {
  if (!timestamp) return "never";
  const s = (Date.now() - Date.parse(timestamp)) / 1000;
  return s < 5 ? "just now" : `${duration(s)} ago`;
}

/** What statements took in the warehouse: "4 s, 3 statements"; "–" if nothing was asked of it. */
export function took(cost) {
  if (!cost?.statements) return "–";
  return `${duration(cost.warehouseMs / 1000)}, ${count(cost.statements)} statement${cost.statements === 1 ? "" : "s"}`;
}

export const clock = (timestamp) => (timestamp ? new Date(timestamp).toLocaleTimeString([], { hour12: false }) : "");

export const moment = (timestamp) => (timestamp ? new Date(timestamp).toLocaleString([], { dateStyle: "medium", timeStyle: "medium", hour12: false }) : "");

/** "ERROR_REASON_MISSING_CLASSIFICATION" -> "Missing classification"; "" for what is not set. */
export function words(name, prefix = "") {
  if (!name || name.endsWith("UNSPECIFIED")) return "";
  const plain = name.replace(prefix, "").toLowerCase().replaceAll("_", " ");
  return plain[0].toUpperCase() + plain.slice(1);
}

/** The status as people should see it: a job that completed with errors is not a clean one. */
export const shownStatus = (job) => (job.completedWithErrors ? "COMPLETED_WITH_ERRORS" : job.status);

export const reason = (name) => words(name, "ERROR_REASON_") || "Other";

/** JSON indented for reading; what is not JSON (a row that was cut off) as it is. */
export function pretty(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
