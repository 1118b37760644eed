// The OpenAPI document as a page to read and to try. Our own instead of a packaged viewer: those bring megabytes, and styles that a
// strict Content-Security-Policy forbids.

import { changeHeaders, setCsrf } from "./api.js";
import { h, say, set, text } from "./dom.js";

const main = document.getElementById("main");
const who = await (await fetch("/session")).json();
setCsrf(who.csrf ?? ""); // nobody may be signed in, where the contract is open
const api = await (await fetch("/openapi.json")).json();
main.append(prose(api.info.description));
for (const tag of api.tags) main.append(section(tag));
if (location.hash.length > 1) openNamed();
addEventListener("hashchange", openNamed);

function openNamed() {
  const named = document.getElementById(location.hash.slice(1));
  if (named?.tagName !== "DETAILS") return;
  named.open = true;
  named.scrollIntoView();
}

function section(tag) {
  const operations = Object.entries(api.paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).filter(([, operation]) => operation.tags.includes(tag.name)).map(([verb, operation]) => ({ path, verb: verb.toUpperCase(), ...operation })));
  return h("section", { "aria-labelledby": tag.name }, h("h2", { id: tag.name }, tag.name), prose(tag.description), operations.map(shown));
}

function shown(operation) {
  const details = h("details.reason.operation", { id: operation.operationId },
    h("summary", {}, h("span.verb", { "data-verb": operation.verb }, operation.verb), h("span.mono", {}, operation.path), h("span.quiet.brief", {}, operation.summary)));
  // Built when it is first opened: most of them never are.
  details.addEventListener("toggle", () => details.open && details.childElementCount === 1 && details.append(body(operation)));
  return details;
}

function body(operation) {
  const inputs = operation.parameters.map((parameter) => ({ parameter, input: inputFor(operation, parameter) }));
  const content = operation.requestBody?.content["application/json"];
  const json = content && h("textarea", { id: `${operation.operationId}-body`, rows: 8, spellcheck: "false" });
  if (json) json.value = JSON.stringify(content.example ?? {}, null, 2);
  const [code, answer] = Object.entries(operation.responses)[0];
  const forms = Object.keys(answer.content);
  const accept = forms.length > 1 && h("select", { id: `${operation.operationId}-accept` }, forms.map((form) => h("option", {}, form)));
  const shell = h("pre", { "aria-label": "As a command", tabindex: "0" });
  const status = h("p", { role: "status" });
  const output = h("pre", { "aria-label": "Answer", tabindex: "0", hidden: true });
  const request = () => requestOf(operation, inputs, json, accept);
  const refresh = () => text(shell, curl(request()));
  let running = null;
  const stop = h("button", { type: "button", hidden: true, click: () => running?.abort() }, "Stop");
  const form = h("form", { input: refresh, change: refresh, submit: async (event) => {
    event.preventDefault();
    running?.abort();
    running = new AbortController();
    set(stop, "hidden", null);
    await send(request(), running.signal, status, output);
    set(stop, "hidden", true);
  } },
    inputs.map(({ parameter, input }) => h("div.field", {}, h("label.mono", { for: input.id }, parameter.name, parameter.required && " (required)"), input, prose(parameter.description))),
    json && h("div.field", {}, h("label", { for: json.id }, "Body, JSON"), json, model(content.schema)),
    accept && h("div.field", {}, h("label", { for: accept.id }, "Accept"), accept),
    h("div.buttons", {}, h("button.primary", { type: "submit" }, "Send"), stop), shell, status, output);
  refresh();
  return h("div.opened", {}, prose(operation.description), form,
    h("h3", {}, `Answer ${code}`), prose(answer.description), model(answer.content["application/json"].schema));
}

function inputFor(operation, parameter) {
  const { schema } = parameter;
  const repeated = schema.type === "array";
  const map = parameter.style === "deepObject";
  const options = deref(schema).enum ?? (schema.type === "boolean" ? ["true", "false"] : null);
  const id = `${operation.operationId}-${parameter.name}`;
  if (options) return h("select", { id }, h("option", {}), options.map((value) => h("option", {}, value)));
  return h("input", { id, required: parameter.required, autocomplete: "off", spellcheck: "false",
    placeholder: map ? "key=value, key=value" : repeated ? "separated by commas" : "" });
}

function requestOf(operation, inputs, json, accept) {
  let path = operation.path;
  const query = [];
  const add = (name, value) => query.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`);
  for (const { parameter, input } of inputs) {
    const value = input.value.trim();
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value) || `{${parameter.name}}`);
    else if (value && parameter.style === "deepObject") {
      for (const pair of value.split(",")) {
        const [key, ...rest] = pair.split("=");
        add(`${parameter.name}[${key.trim()}]`, rest.join("=").trim());
      }
    } else if (value && parameter.schema.type === "array") value.split(",").forEach((part) => add(parameter.name, part.trim()));
    else if (value) add(parameter.name, value);
  }
  return { method: operation.verb, url: path + (query.length ? "?" + query.join("&") : ""), body: json?.value.trim() || undefined, accept: accept ? accept.value : "application/json" };
}

function curl({ method, url, body, accept }) {
  const quoted = (value) => `'${value.replaceAll("'", "'\\''")}'`;
  const token = who.signInNeeded !== false; // not in the command itself, where all users of a machine can read it
  return [token && "blade auth header |", "curl", token && "-H @-", method !== "GET" && `-X ${method}`, accept !== "application/json" && `-N -H ${quoted("accept: " + accept)}`,
    body && `-H 'content-type: application/json' -d ${quoted(body)}`, quoted(location.origin + url)].filter(Boolean).join(" ");
}

const MOST = 200_000;

async function send({ method, url, body, accept }, signal, status, output) {
  const began = performance.now();
  text(status, "Waiting for the answer …");
  text(output, "");
  try {
    const response = await fetch(url, { method, body, signal, headers: { accept, ...(method === "GET" ? {} : changeHeaders()), ...(body ? { "content-type": "application/json" } : {}) } });
    text(status, `${response.status} ${response.statusText} after ${Math.round(performance.now() - began)} ms`);
    output.hidden = false;
    let received = "";
    for await (const part of parts(response)) {
      received += part;
      text(output, received.length > MOST ? "… " + received.slice(-MOST) : received);
    }
    if (accept === "application/json" && received.length < MOST) text(output, indented(received));
  } catch (error) {
    text(status, signal.aborted ? "Stopped." : `No answer: ${error.message}`);
  }
  say(status.textContent);
}

async function* parts(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
}

function indented(json) {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

function deref(schema) {
  if (schema.allOf) return deref(schema.allOf[0]);
  return schema.$ref ? api.components.schemas[schema.$ref.split("/").at(-1)] : schema;
}

/** The fields of a message, those of messages in it folded away. */
function model(schema) {
  const inner = deref(schema.type === "array" ? schema.items : schema);
  if (!inner.properties) return "";
  return h("dl.model", {}, Object.entries(inner.properties).map(([name, property]) => {
    const target = deref(property.type === "array" ? property.items : property);
    return h("div", {}, h("dt", {}, h("code", {}, name), h("span.quiet", {}, " " + typeName(property))), h("dd", {}, prose(property.description ?? ""),
      target.properties ? fold(target) : target.enum ? prose(target.enum.join(", ")) : ""));
  }));
}

function fold(target) {
  const details = h("details", {}, h("summary", {}, "Fields"));
  details.addEventListener("toggle", () => details.childElementCount === 1 && details.append(model(target)));
  return details;
}

function typeName(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.type === "array") return `list of ${typeName(schema.items)}`;
  if (schema.additionalProperties) return `map to ${typeName(schema.additionalProperties)}`;
  return schema.format ?? schema.type;
}

/** A comment of the contract: text with `code` in it. */
function prose(comment) {
  return h("p", {}, (comment ?? "").split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part)));
}
