// A new sync, or what is asked of one changed: the fields that most have; all others keep what they are.

import { Refused, call, get, requestId } from "./api.js";
import { h, set, text, toast } from "./dom.js";
import { camel, clear, complain, field } from "./fields.js";
import { MODES, seconds, syncLink, syncPath } from "./sync_words.js";

const UNITS = { s: 1, sec: 1, m: 60, min: 60, h: 3600, hour: 3600, hours: 3600, d: 86400, day: 86400, days: 86400 };
const SPAN_HINT = "Such as 30 s, 15 min, 2 h, 7 days";
const GROUPS = [
  ["Rows", [
    { path: "mode", label: "Mode", options: Object.entries(MODES).map(([mode, about]) => [mode, `${mode}: ${about.toLowerCase()}`]) },
    { path: "filter", label: "Condition on the rows", hint: "As after WHERE. Empty: every row" },
    { path: "sql", label: "SQL, in place of a condition", hint: "One SELECT, for CHANGED and FULL", area: true },
    { path: "cursor.column", label: "Cursor column", hint: "For INCREMENTAL: grows with every change of a row" },
    { path: "cursor.lag", label: "Read again from before the cursor", hint: SPAN_HINT, kind: "span" },
    { path: "cursor.fullEvery", label: "All rows again after", hint: "Default: 7 days", kind: "span" },
  ]],
  ["When it runs", [
    { path: "schedule.cron", label: "Cron", hint: "Five fields, such as 30 2 * * *. Neither this nor the next: by hand" },
    { path: "schedule.timeZone", label: "Time zone of cron", hint: "Such as Europe/Berlin. Default: UTC" },
    { path: "schedule.every", label: "Or every", hint: `${SPAN_HINT}; at least 10 s`, kind: "span" },
    { path: "schedule.overlap", label: "While a run is not over", options: [["SKIP", "leave a due time out"], ["QUEUE_ONE", "let one wait"]] },
    { path: "schedule.catchUp", label: "Due times that no server was there for", options: [["NONE", "are missed"], ["LATEST", "the latest is caught up"]] },
    { path: "maxAge", label: "Late when the last success is older than", hint: SPAN_HINT, kind: "span" },
    { path: "pauseAfterFailures", label: "Pauses itself after failed runs in a row", hint: "Default: never", kind: "number" },
    { path: "limits.maxErrors", label: "A run fails after this many errors", hint: "Default: no limit", kind: "number" },
  ]],
  ["Deletes", [
    { path: "deletes", label: "Items whose rows are gone", options: [["KEEP", "stay"], ["DELETE", "are deleted, within the guards"]] },
    { path: "guards.maxDeleteShare", label: "Held back above this share of the items", hint: "In percent. Default: 5", kind: "percent" },
    { path: "guards.maxDeletes", label: "Held back above this many in a run", hint: "Default: no limit", kind: "number" },
    { path: "guards.confirmRuns", label: "Runs that must have missed an item", hint: "Default: 1", kind: "number" },
    { path: "guards.grace", label: "Missing for at least", hint: SPAN_HINT, kind: "span" },
  ]],
];
const FIELDS = GROUPS.flatMap(([, fields]) => fields);
// Where it is said what is wrong with a message as a whole.
const FIRST = { cursor: "cursor-column", schedule: "schedule-cron", guards: "guards-maxDeleteShare" };
const idOf = (path) => {
  const id = camel(path).replace(/^sync\./, "").replace(/^spec\./, "").replaceAll(".", "-");
  return FIRST[id] ?? id;
};

/** `name`: the sync to change; empty: a new one. */
export function showSyncForm(main, name, parameters) {
  const abort = new AbortController();
  const identity = h("input", { id: "name", required: true, maxlength: 63, autocomplete: "off", spellcheck: "false", autocapitalize: "off", "aria-describedby": "name-hint name-error" });
  const source = h("select", { id: "source", required: true, "aria-describedby": "source-error" });
  const destination = h("input", { id: "destination", autocomplete: "off", spellcheck: "false", "aria-describedby": "destination-hint destination-error" });
  const inputs = FIELDS.map(inputOf);
  const problem = h("p.notice", { role: "alert", hidden: true });
  const send = h("button.primary", { type: "submit" }, name ? "Save the changes" : "Create the sync");
  const leave = h("a.button", { href: name ? syncLink(name) : "#/syncs" }, "Leave it");
  let before = null;
  let attempt = requestId();
  const submit = async (event) => {
    event.preventDefault();
    if (send.getAttribute("aria-disabled")) return;
    clear(form, problem);
    set(send, "aria-disabled", "true");
    try {
      const spec = specOf(inputs, before?.spec ?? {});
      const saved = before
        ? await call("PATCH", `${syncPath(name)}?${new URLSearchParams({ updateMask: MASK })}`, { etag: before.etag, spec }, abort.signal)
        : await call("POST", `/syncs?${new URLSearchParams({ requestId: attempt })}`, { name: identity.value.trim(), spec: { ...spec, source: source.value, destination: destination.value.trim() } }, abort.signal);
      toast(before ? "The sync was changed; the next run is the first to know." : "The sync was created.");
      location.hash = syncLink(saved.name);
    } catch (error) {
      if (abort.signal.aborted) return;
      if (!(error instanceof Refused)) throw error;
      complain(form, problem, error, idOf);
    } finally {
      set(send, "aria-disabled", null);
    }
  };
  const form = h("form.panel", { submit, input: () => (attempt = requestId()), hidden: Boolean(name) },
    !name && h("div.grid", {},
      field("Name", identity, "Its identity, which never changes: lower-case letters, digits, hyphens"), field("Source", source, ""),
      field("Destination", destination, "Name of a destination. Default: the server's own catalog")),
    GROUPS.map(([title, fields]) => h("fieldset", {}, h("legend", {}, title), h("div.grid", {}, fields.map((one) => field(one.label, inputs[FIELDS.indexOf(one)], one.hint))))),
    problem, h("div.buttons", {}, send, leave));
  main.append(h("p.back", {}, h("a", { href: name ? syncLink(name) : "#/syncs" }, name ? `Sync ${name}` : "All syncs")),
    h("h1", {}, name ? `Change ${name}` : "New sync"),
    h("p.quiet", {}, name ? "Fields that are not shown here keep what they are. You become the owner: due runs go with your rights." : "Nothing runs until you run it or a due time comes. A plan shows before what would be written."),
    form);
  const fill = async () => {
    if (name) {
      before = await get(syncPath(name), abort.signal);
      if (before.redacted) throw new Refused({ code: 403, message: `To change ${name} you need the roles EDITOR and READER on ${before.spec.source}.` });
      FIELDS.forEach((one, index) => (inputs[index].value = shown(one, at(before.spec, one.path)) || inputs[index].value));
      return set(form, "hidden", null);
    }
    const { sources } = await get("/configure/blade?pageSize=1000", abort.signal);
    source.append(...sources.map((one) => h("option", { value: one.name, disabled: one.enabled === false }, `${one.displayName || one.name} (${one.dataType})`)));
    const wanted = parameters.get("source");
    if (sources.some((one) => one.name === wanted)) source.value = wanted;
  };
  fill().catch((error) => {
    if (abort.signal.aborted) return;
    if (!(error instanceof Refused)) throw error;
    toast(error.message, "error");
  });
  return { stop: () => abort.abort() };
}

// A message is sent as a whole, with what the form does not show of it as it was.
const MASK = [...new Set(FIELDS.map(({ path }) => (path.startsWith("limits.") ? path : path.split(".")[0])))].map((path) => `spec.${path}`).join(",");

function inputOf(one) {
  const about = { id: idOf(one.path), "aria-describedby": `${idOf(one.path)}-hint ${idOf(one.path)}-error` };
  if (one.options) return h("select", about, one.options.map(([value, label]) => h("option", { value }, label)));
  if (one.area) return h("textarea", { ...about, rows: 3, spellcheck: "false", autocapitalize: "off" });
  return h("input", { ...about, autocomplete: "off", spellcheck: "false", inputmode: one.kind === "number" || one.kind === "percent" ? "decimal" : null });
}

const at = (spec, path) => path.split(".").reduce((part, name) => part?.[name], spec);

function specOf(inputs, before) {
  const spec = {};
  const wrong = [];
  FIELDS.forEach((one, index) => {
    const value = inputs[index].value.trim();
    if (!value) return;
    const read = readAs(one, value);
    if (read === undefined) return wrong.push({ field: one.path, description: `${value} is not ${one.kind === "span" ? "a time such as 30 s, 15 min, 2 h, 7 days" : "a number"}` });
    const [group, name] = one.path.split(".");
    if (name) (spec[group] ??= {})[name] = read;
    else spec[group] = read;
  });
  if (wrong.length) throw new Refused({ code: 400, message: "Some values cannot be read.", details: [{ fieldViolations: wrong }] });
  // What its own field does not ask for is not sent: a schedule is one by `cron` or `every`, a cursor by its column.
  for (const [group, needed] of [["schedule", ["cron", "every"]], ["cursor", ["column", "lag", "fullEvery"]]]) {
    if (spec[group] && !needed.some((name) => name in spec[group])) delete spec[group];
  }
  for (const group of ["schedule", "cursor", "guards"]) {
    if (spec[group] && before[group]) spec[group] = { ...unshown(group, before[group]), ...spec[group] };
  }
  return spec;
}

function unshown(group, part) {
  const shownHere = FIELDS.map(({ path }) => path.split(".")).filter(([first]) => first === group).map(([, name]) => name);
  return Object.fromEntries(Object.entries(part).filter(([name]) => !shownHere.includes(name)));
}

function readAs({ kind }, value) {
  if (kind === "span") {
    const found = /^(\d+(?:\.\d+)?)\s*([a-z]+)$/i.exec(value);
    const unit = found && UNITS[found[2].toLowerCase()];
    return unit ? `${+(Number(found[1]) * unit).toFixed(3)}s` : undefined;
  }
  if (!kind) return value;
  const number = Number(value.replace(/\s*%$/, ""));
  if (!Number.isFinite(number) || (kind === "number" && !Number.isInteger(number))) return undefined;
  return kind === "percent" ? number / 100 : number;
}

function shown({ kind }, value) {
  if (value === undefined || value === null) return "";
  if (kind === "span") return spelled(seconds(value));
  if (kind === "percent") return String(+(value * 100).toFixed(6));
  if (kind === "number") return String(value);
  return value;
}

/** The same time again when it is read: 5400 -> "90 min". */
function spelled(time) {
  if (!time) return "";
  const [unit, size] = [["days", 86400], ["h", 3600], ["min", 60]].find(([, each]) => time % each === 0) ?? ["s", 1];
  return `${time / size} ${unit}`;
}
