// The calls of the page: the same REST that everybody else has.

import { showLink } from "./link.js";

/** A refused call. `message` is for people; `violations` maps fields to what is wrong with them. */
export class Refused extends Error {
  constructor(error) {
    super(error.message);
    this.code = error.code;
    const wrong = (error.details ?? []).flatMap((detail) => detail.fieldViolations ?? []);
    this.violations = new Map(wrong.map(({ field, description }) => [field, description]));
  }
}

let csrf = "";
/** What changes carry, so that no other page can send them in the name of who is signed in. */
export function setCsrf(token) {
  csrf = token;
}

export const changeHeaders = () => (csrf ? { "x-blade-csrf": csrf } : {});

/** What is told the page when the server does not know (any more) who asks. */
export const SIGNED_OUT = "signed-out";

export async function call(method, path, body, signal) {
  const before = csrf;
  let response = await send(method, path, body, signal);
  // Somebody signed in anew in another tab: that session's token is another one.
  if (response.status === 403 && method !== "GET" && before && (await renewed(before))) response = await send(method, path, body, signal);
  const answer = await response.json().catch(() => null);
  if (response.status < 500) showLink("live");
  if (response.ok) return answer;
  if (response.status === 401 && path !== SESSION) document.dispatchEvent(new Event(SIGNED_OUT));
  throw new Refused(answer?.error ?? { code: response.status, message: `The server answered ${response.status}.` });
}

const SESSION = "/session";

async function renewed(before) {
  const answer = await send("GET", SESSION);
  if (answer.ok) csrf = (await answer.json()).csrf;
  return csrf !== before;
}

async function send(method, path, body, signal) {
  const headers = { accept: "application/json", ...(method === "GET" ? {} : changeHeaders()) };
  const actor = localStorage.getItem("actor");
  if (actor && !csrf) headers["blade-actor"] = actor; // who is signed in needs no other name
  if (body !== undefined) headers["content-type"] = "application/json";
  const timeout = AbortSignal.timeout(120_000);
  try {
    return await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    showLink("lost");
    throw new Refused({ code: 0, message: "The server does not answer. Is it running?" });
  }
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const post = (path, body, signal) => call("POST", path, body, signal);

/** Asks whether the session still holds; if not, the page hears of it as with any other call. */
export async function checkSession() {
  const answer = await send("GET", SESSION).catch(() => null);
  if (answer?.status === 401) document.dispatchEvent(new Event(SIGNED_OUT));
}

export const jobPath = (id, verb = "") => `/jobs/${encodeURIComponent(id)}${verb}`;

/** Who the history says it was. Only what a header can carry. */
export function setActor(name) {
  const plain = name.normalize("NFKD").replace(/[^\x20-\x7e]/g, "").trim().slice(0, 60);
  if (plain) localStorage.setItem("actor", plain);
  else localStorage.removeItem("actor");
  return plain;
}

/** An id that makes a call repeatable. (randomUUID would need HTTPS on anything but localhost.) */
export function requestId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
