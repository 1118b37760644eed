// All failing rows of a job as CSV that a spreadsheet opens without running anything of it. The form is that of `blade job errors --format csv`.

import { get, jobPath } from "./api.js";
import { reason } from "./format.js";

const PAGE = 1000;
const MOST_CHARACTERS = 64_000_000; // it is put together in this browser's memory
const COLUMNS = ["item_id", "stage", "reason", "field", "attempts", "time", "message", "row"];
const FORMULA = /^[=+\-@\t\r]/;

/** Saves them. Returns {count, whole}: how many there are in the file, and whether these are all. */
export async function saveErrors(id, signal) {
  const parts = [line(COLUMNS)];
  let [length, count, token] = [0, 0, ""];
  do {
    const { errors, nextPageToken } = await get(`${jobPath(id)}/errors?${new URLSearchParams({ pageSize: PAGE, pageToken: token })}`, signal);
    const text = errors.map((error) => line(values(error))).join("");
    parts.push(text);
    length += text.length;
    count += errors.length;
    token = nextPageToken;
  } while (token && length < MOST_CHARACTERS);
  save(`${id}-errors.csv`, new Blob(parts, { type: "text/csv;charset=utf-8" }));
  return { count, whole: !token };
}

const values = (error) => [
  error.itemId, error.stage, error.reason.replace("ERROR_REASON_", ""), error.field, String(error.attempts), error.createTime ?? "", error.message || reason(error.reason), error.rowJson,
];

/** A value that a spreadsheet would take for a formula gets a quote mark in front; separators and quotes as RFC 4180 has it. */
function cell(value) {
  const safe = FORMULA.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

const line = (cells) => `${cells.map(cell).join(",")}\r\n`;

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
