// The view of who is not signed in: at the identity provider, or with a token.

import { Refused, get } from "./api.js";
import { h, set, text } from "./dom.js";
import { signIn } from "./session.js";

const LOOPBACK = /^(localhost|.*\.localhost|127\..*|\[::1\])$/;

/** Asks for a token; `onDone` when it was taken. `why`: what is said first. */
export function showSignIn(main, why, onDone) {
  const token = h("input", { id: "token", type: "password", required: true, autocomplete: "off", spellcheck: "false", autocapitalize: "off", "aria-describedby": "token-hint token-error" });
  const wrong = h("p.bad", { id: "token-error", role: "alert" });
  const button = h("button.primary", { type: "submit" }, "Sign in");
  const submit = async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled")) return;
    set(button, "aria-disabled", "true");
    text(wrong, "");
    set(token, "aria-invalid", null);
    try {
      await signIn({ token: token.value.trim() });
      onDone();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      text(wrong, error.code === 401 ? "This token is not good (any more): it is unknown, over or revoked." : error.message);
      set(token, "aria-invalid", "true");
      token.select();
    } finally {
      set(button, "aria-disabled", null);
    }
  };
  const elsewhere = h("div.elsewhere", { hidden: true });
  const readable = location.protocol === "http:" && !LOOPBACK.test(location.hostname);
  main.append(h("section.sign-in.panel", {},
    h("h1", {}, "Sign in"),
    why && h("p", {}, why),
    readable && h("p.notice", {}, "This page came without TLS: whoever sits between here and the server can read the token."),
    elsewhere,
    h("form", { submit },
      h("div.field", {}, h("label", { for: "token" }, "Token"), token,
        h("p.quiet", { id: "token-hint" }, "It begins with blade_. An administrator makes one: ", h("code", {}, "blade token create"), ". On the server's own machine ", h("code", {}, "blade auth header"), " shows yours."),
        wrong),
      h("div.buttons", {}, button))));
  token.focus();
  offer(elsewhere);
  return { stop() {} };
}

/** The way to the identity provider and back to this place, if people sign in at one. */
async function offer(place) {
  const { provider } = await get("/access/sign-in").catch(() => ({}));
  if (!provider?.pageUrl) return;
  const next = location.pathname + location.search + location.hash;
  place.append(
    h("a.button.primary", { href: `${provider.pageUrl}?${new URLSearchParams({ next })}` }, `Sign in with ${provider.name}`),
    h("p.quiet", {}, "Or with a token:"));
  set(place, "hidden", null);
}
