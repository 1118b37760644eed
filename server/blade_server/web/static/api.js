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

export async function call(method, path, body, signal) {
  const headers = { accept: "application/json" };
  const actor = localStorage.getItem("actor");
  if (actor) headers["blade-actor"] = actor;
  if (body !== undefined) headers["content-type"] = "application/json";
  const timeout = AbortSignal.timeout(120_000);
  let response;
  try {
    response = await fetch(path, {
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
  const answer = await response.json().catch(() => null);
  if (response.status < 500) showLink("live");
  if (response.ok) return answer;
  throw new Refused(answer?.error ?? { code: response.status, message: `The server answered ${response.status}.` });
}

export const get = (path, signal) => call("GET", path, undefined, signal);
export const post = (path, body, signal) => call("POST", path, body, signal);

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
