// The router: one view at a time, each with a `stop` that ends what keeps it live. Before the first, and whenever the server asks for it, that
// of who is not signed in.

import { SIGNED_OUT, setActor } from "./api.js";
import { h, set, text, toast } from "./dom.js";
import { anywhere, everywhere, load, roles, session, signIn, signOut } from "./session.js";
import { showSignIn } from "./sign_in.js";
import { showAccess } from "./access.js";
import { showAudit } from "./audit.js";
import { showJob } from "./job.js";
import { showOverview } from "./overview.js";
import { showStart } from "./start.js";
import { showSync } from "./sync.js";
import { showSyncForm } from "./sync_form.js";
import { showSyncReport } from "./sync_report.js";
import { showSyncs } from "./syncs.js";

const main = document.getElementById("main");
const WHOLE_SERVER = ["ADMIN", "AUDITOR"];
const BY_CODE = /^#\/sign-in\/([\w-]{1,100})$/;
let view = null;
let first = true;
let signedIn = false;

function route() {
  if (!signedIn) return;
  const [path, query = ""] = location.hash.slice(1).split("?");
  begin();
  const parameters = new URLSearchParams(query);
  const [, place = "", id = "", ...rest] = path.split("/").map(decoded);
  if (place === "" && !anywhere("VIEWER")) view = nothingToSee();
  else if (place === "") view = showOverview(main, parameters);
  else if (place === "start") view = showStart(main, parameters);
  else if (place === "jobs" && id) view = showJob(main, id);
  else if (place === "syncs") view = showOneOf(id, rest);
  else if (place === "new-sync") view = showSyncForm(main, "", parameters);
  else if (place === "access") view = showAccess(main);
  else if (place === "audit") view = showAudit(main, parameters);
  else view = nothing();
  for (const a of document.querySelectorAll("nav a")) {
    const here = a.hash === "#/" + place || (place === "jobs" && a.hash === "#/") || (place === "new-sync" && a.hash === "#/syncs");
    if (here && a.pathname === location.pathname) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  const heading = named();
  if (!first) {
    heading.tabIndex = -1;
    heading.focus(); // a new view is a new page for who hears it
    scrollTo(0, 0);
  }
  first = false;
}

function showOneOf(name, [part = "", id = ""]) {
  if (!name) return showSyncs(main);
  if (part === "edit") return showSyncForm(main, name, new URLSearchParams());
  if (part === "reports" && id) return showSyncReport(main, name, id);
  return part ? nothing() : showSync(main, name);
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // typed by hand; no such place
  }
}

function begin() {
  view?.stop();
  main.replaceChildren();
}

function named() {
  const heading = main.querySelector("h1");
  document.title = `${heading.textContent} · BLADE`;
  return heading;
}

function enter() {
  signedIn = true;
  // The server sends this page in place of another one to those who are not signed in.
  if (location.pathname !== "/") return location.reload();
  for (const a of document.querySelectorAll("nav a[data-needs]")) {
    const needed = a.dataset.needs;
    set(a, "hidden", !(WHOLE_SERVER.includes(needed) ? everywhere(needed) : anywhere(needed)));
  }
  set(document.getElementById("nav"), "hidden", null);
  set(document.getElementById("actor-field"), "hidden", session.needed);
  const who = document.getElementById("who");
  set(who, "hidden", !session.needed);
  text(who.querySelector("strong"), session.principal);
  text(who.querySelector(".quiet"), roles());
  warn();
  route();
}

function warn() {
  const place = document.getElementById("warnings");
  place.replaceChildren(...session.warnings.map((warning) => h("p", {}, warning)));
  set(place, "hidden", !session.warnings.length);
}

function askToSignIn(why) {
  signedIn = false;
  for (const id of ["nav", "who", "actor-field"]) set(document.getElementById(id), "hidden", true);
  begin();
  view = showSignIn(main, why, enter);
  named();
}

function nothing() {
  main.append(h("h1", {}, "Nothing here"), h("p", {}, h("a", { href: "#/" }, "All jobs")));
  return { stop() {} };
}

function nothingToSee() {
  main.append(h("h1", {}, "Nothing to see yet"), h("p", {}, everywhere("AUDITOR")
    ? h("a", { href: "#/audit" }, "The audit log")
    : `You are signed in as ${session.principal}, who may not see any source. An administrator can grant you a role.`));
  return { stop() {} };
}

const actor = document.getElementById("actor");
actor.value = localStorage.getItem("actor") ?? "";
actor.addEventListener("change", () => (actor.value = setActor(actor.value)));

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its fragment would be taken for a view
  main.focus();
});

document.querySelector("#who button").addEventListener("click", async () => {
  try {
    await signOut();
  } catch (error) {
    if (error.code !== 401) return toast(error.message, "error");
  }
  askToSignIn("You are signed out.");
});

document.addEventListener(SIGNED_OUT, () => signedIn && askToSignIn("Your session is over. Sign in again."));
addEventListener("hashchange", () => (BY_CODE.test(location.hash) ? location.reload() : route()));

let code = BY_CODE.exec(location.hash)?.[1];
if (code) history.replaceState(null, "", "/"); // not a place to come back to

async function start() {
  try {
    await load();
    enter();
    // A link can be anybody's: it makes nobody out of who is signed in.
    if (code && session.needed) toast(`This browser is signed in as ${session.principal} already.`);
    code = "";
  } catch (error) {
    if (error.code === 401) return code ? enterByCode() : askToSignIn("");
    setTimeout(start, 2000);
    if (error.code === undefined) throw error;
    main.replaceChildren(h("h1", {}, "BLADE"), h("p", {}, error.message));
  }
}

async function enterByCode() {
  const shown = { code };
  code = "";
  try {
    await signIn(shown);
    enter();
    toast(`You are signed in as ${session.principal}, by blade open.`);
  } catch (error) {
    if (error.code === undefined) throw error;
    askToSignIn(error.code === 401 ? "This code is not good any more: it is good once, and for a minute. Run blade open again." : error.message);
  }
}

start();
