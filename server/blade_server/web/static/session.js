// Who is signed in, and what he may do. A token or code is sent once and kept nowhere; the cookie is not for scripts.

import { call, get, setCsrf } from "./api.js";

const ROLES = ["VIEWER", "READER", "OPERATOR", "EDITOR", "ADMIN"];
export const ALL_ROLES = [...ROLES, "AUDITOR"];

/** `needed`: whether anybody signs in here at all. */
export const session = { principal: "", needed: true, warnings: [], grants: [] };

/** Asks the server. Throws Refused 401 if nobody is signed in. */
export async function load() {
  take(await get("/session"));
  session.grants = (await get("/access/whoami")).grants;
}

/** `shown`: a token, or the code of `blade open`. */
export async function signIn(shown) {
  take(await call("POST", "/session", shown));
  session.grants = (await get("/access/whoami")).grants;
}

export async function signOut() {
  await call("DELETE", "/session");
  setCsrf("");
}

function take(answer) {
  setCsrf(answer.csrf);
  Object.assign(session, { principal: answer.principal, needed: answer.signInNeeded, warnings: answer.warnings });
}

const holds = (role, needed) => role === needed || (ROLES.includes(needed) && ROLES.indexOf(role) > ROLES.indexOf(needed));

/** Whether he holds the role on anything. */
export const anywhere = (needed) => session.grants.some(({ role }) => holds(role, needed));

/** Whether he holds it on the server as a whole. */
export const everywhere = (needed) => session.grants.some(({ role, scope }) => scope === "*" && holds(role, needed));

/** Whether he holds it on a source. */
export const may = (needed, source, dataType) =>
  session.grants.some(({ role, scope }) => ["*", `source:${source}`, `data_type:${dataType}`].includes(scope) && holds(role, needed));

/** His roles as people read them: "OPERATOR", "READER of source parts". */
export function roles() {
  const shown = session.grants.map(({ role, scope }) => (scope === "*" ? role : `${role} of ${scope.replace("_", " ").replace(":", " ")}`));
  return [...new Set(shown)].join(", ") || "no role yet";
}
