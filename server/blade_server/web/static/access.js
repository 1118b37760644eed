// For ADMINs: who gets in, by tokens, and who may do what, by grants.

import { Refused, call, get, post } from "./api.js";
import { confirmation } from "./dialog.js";
import { h, say, set, text, toast } from "./dom.js";
import { ago, moment } from "./format.js";
import { ALL_ROLES } from "./session.js";

const DAY_S = 86_400;
const LIFETIMES = [["1 day", DAY_S], ["30 days", 30 * DAY_S], ["90 days", 90 * DAY_S], ["1 year", 365 * DAY_S], ["for ever", 0]];
const SCOPE_HINT = "* for everything, source:NAME or data_type:NAME";

export function showAccess(main) {
  const abort = new AbortController();
  const parts = [tokens(abort.signal), grants(abort.signal)];
  main.append(h("h1", {}, "Access"), ...parts.map((part) => part.element));
  const load = () => parts.forEach((part) => part.load());
  parts.forEach((part) => (part.onChange = load)); // a token may come with a grant
  load();
  return { stop: () => abort.abort() };
}

function tokens(signal) {
  const list = table("tokens", "Tokens", ["Principal", "For", "Made", "Ends", "Last used", ""]);
  const dialog = confirmation({ title: "Revoke this token?", about: "", yes: "Revoke it", no: "Leave it" });
  const principal = h("input", { id: "token-principal", required: true, maxlength: 100, autocomplete: "off", spellcheck: "false" });
  const description = h("input", { id: "token-description", maxlength: 200, autocomplete: "off" });
  const lifetime = h("select", { id: "token-lifetime" }, LIFETIMES.map(([label, seconds]) => h("option", { value: `${seconds}s`, selected: label === "90 days" }, label)));
  const role = roleChoice("token-role", "none, or those it has");
  const scope = h("input", { id: "token-scope", value: "*", autocomplete: "off", spellcheck: "false" });
  const made = shownOnce();
  const part = { onChange() {} };
  const create = form("Make a token", [
    field("Principal", principal, "A person's or a program's name. It may have two good tokens."),
    field("What for", description, ""), field("Ends after", lifetime, ""), field("Role", role, ""), field("On", scope, SCOPE_HINT)], async () => {
    const granted = role.value ? [{ role: role.value, scope: scope.value.trim() }] : [];
    const answer = await post("/access/tokens", { principal: principal.value.trim(), description: description.value.trim(), lifetime: lifetime.value, grants: granted }, signal);
    made.show(answer.secret, answer.token.principal);
    principal.value = description.value = "";
    part.onChange();
  });
  const revoke = async (token) => {
    const why = await dialog.ask(`${token.principal} is refused with it from now on, and the sessions that it opened end. That cannot be undone.`);
    if (why === null) return;
    await acted(() => call("DELETE", `/access/tokens/${encodeURIComponent(token.tokenId)}${reason(why)}`), "The token is revoked.", part.onChange);
  };
  part.element = h("section.panel", { "aria-labelledby": "tokens" }, h("h2", { id: "tokens" }, "Tokens"), list.element, made.element, create, dialog.element);
  part.load = () => list.load(async () => (await get("/access/tokens?pageSize=1000", signal)).tokens.map((token) =>
    h("tr", { "data-off": Boolean(token.revokeTime) },
      h("th", { scope: "row" }, token.principal, h("span.mono.quiet", {}, ` ${token.tokenId}`)),
      cell("For", token.description),
      cell("Made", `${moment(token.createTime)}${token.createdBy ? ` by ${token.createdBy}` : ""}`),
      cell("Ends", token.revokeTime ? `revoked ${ago(token.revokeTime)}` : token.expireTime ? moment(token.expireTime) : "never"),
      cell("Last used", ago(token.lastUseTime)),
      h("td", {}, !token.revokeTime && button(`Revoke the token ${token.tokenId}`, () => revoke(token))))));
  return part;
}

function grants(signal) {
  const list = table("grants", "Grants", ["To", "Role", "On", "Up to", "Made", ""]);
  const dialog = confirmation({ title: "Take this grant away?", about: "", yes: "Take it away", no: "Leave it" });
  const kind = h("select", { id: "grant-kind" }, h("option", { value: "principal" }, "a principal"), h("option", { value: "group" }, "a group"));
  const name = h("input", { id: "grant-name", required: true, autocomplete: "off", spellcheck: "false" });
  const role = roleChoice("grant-role", "");
  const scope = h("input", { id: "grant-scope", value: "*", required: true, autocomplete: "off", spellcheck: "false" });
  const ceiling = h("input", { id: "grant-ceiling", autocomplete: "off", spellcheck: "false" });
  const part = { onChange() {} };
  const create = form("Grant a role", [field("To", kind, ""), field("Name", name, ""), field("Role", role, ""), field("On", scope, SCOPE_HINT),
    field("Up to", ceiling, "Highest classification of rows, for READER and OPERATOR; empty for all")], async () => {
    const granted = { [kind.value]: name.value.trim(), role: role.value, scope: scope.value.trim(), ceiling: ceiling.value.trim() };
    await post("/access/grants", granted, signal);
    toast("The role is granted.");
    name.value = "";
    part.onChange();
  });
  const revoke = async (grant) => {
    const why = await dialog.ask(`${grant.principal || grant.group} is no ${grant.role} on ${grant.scope} any more.`);
    if (why === null) return;
    await acted(() => call("DELETE", `/access/grants/${encodeURIComponent(grant.grantId)}${reason(why)}`), "The grant is gone.", part.onChange);
  };
  part.element = h("section.panel", { "aria-labelledby": "grants" }, h("h2", { id: "grants" }, "Grants"), list.element, create, dialog.element);
  part.load = () => list.load(async () => (await get("/access/grants?pageSize=1000", signal)).grants.map((grant) =>
    h("tr", {},
      h("th", { scope: "row" }, grant.principal || `group ${grant.group}`),
      cell("Role", h("span.role", {}, grant.role)), cell("On", grant.scope), cell("Up to", grant.ceiling || "all"),
      cell("Made", `${moment(grant.createTime)}${grant.createdBy ? ` by ${grant.createdBy}` : ""}`),
      h("td", {}, button(`Take ${grant.role} on ${grant.scope} from ${grant.principal || grant.group}`, () => revoke(grant))))));
  return part;
}

function table(name, caption, columns) {
  const body = h("tbody");
  const note = h("p.quiet", { role: "status" }, "Loading");
  const rows = h(`table.rows.free.${name}`, { hidden: true }, h("caption.unseen", {}, caption),
    h("thead", {}, h("tr", {}, columns.map((column) => (column ? h("th", { scope: "col" }, column) : h("td", {}))))), body);
  return {
    element: h("div", {}, rows, note),
    async load(made) {
      try {
        const found = await made();
        body.replaceChildren(...found);
        set(rows, "hidden", !found.length);
        text(note, found.length ? "" : "None yet.");
      } catch (error) {
        if (error.name === "AbortError") return;
        text(note, error.message);
      }
    },
  };
}

/** The secret of a new token, until another view is opened. */
function shownOnce() {
  const secret = h("input", { id: "secret", readonly: true, spellcheck: "false" });
  const label = h("label", { for: "secret" });
  const copy = h("button", { type: "button", click: async () => {
    secret.select();
    await navigator.clipboard?.writeText(secret.value).then(() => say("Copied"), () => {});
  } }, "Copy");
  const element = h("div.once", { hidden: true }, h("div.field", {}, label, secret, h("p", {}, "Keep it now: it is shown this once and never again.")), copy);
  return {
    element,
    show(value, principal) {
      secret.value = value;
      text(label, `The token of ${principal}`);
      set(element, "hidden", null);
      secret.focus();
      secret.select();
    },
  };
}

function form(action, fields, send) {
  const problem = h("p.bad", { role: "alert" });
  const go = h("button.primary", { type: "submit" }, action);
  const submit = async (event) => {
    event.preventDefault();
    if (go.getAttribute("aria-disabled")) return;
    set(go, "aria-disabled", "true");
    text(problem, "");
    try {
      await send();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      text(problem, error.message);
    } finally {
      set(go, "aria-disabled", null);
    }
  };
  return h("details.options", {}, h("summary", {}, action), h("form", { submit }, h("div.grid", {}, fields), problem, h("div.buttons", {}, go)));
}

async function acted(work, done, onChange) {
  try {
    await work();
    toast(done);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    toast(error.message, "error");
  }
  onChange();
}

const reason = (why) => (why ? `?${new URLSearchParams({ reason: why })}` : "");

const cell = (name, value) => h("td", { "data-name": name }, value);

const button = (label, click) => h("button", { type: "button", "aria-label": label, click }, "Revoke");

const roleChoice = (id, none) => h("select", { id }, none && h("option", { value: "" }, none), ALL_ROLES.map((role) => h("option", {}, role)));

const field = (label, input, hint) => h("div.field", {}, h("label", { for: input.id }, label), input, hint && h("p.quiet", {}, hint));
