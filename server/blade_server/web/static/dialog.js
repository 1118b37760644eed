// A question before something that cannot be taken back.

import { h } from "./dom.js";

let dialogs = 0;

/**
 * `ask()` gives the reason that was typed (may be empty unless it is `required`), null if it is to be left. `more`: elements between the
 * question and the reason.
 */
export function confirmation({ title, about, yes, no, required = false, more = [] }) {
  const id = `sure-${++dialogs}`;
  const why = h("input", { id: `${id}-why`, maxlength: 1000, autocomplete: "off", required });
  const text = h("p", {}, about);
  const heading = h("h2", { id }, title);
  const dialog = h("dialog", { "aria-labelledby": id },
    h("form", { method: "dialog" },
      heading, text, more,
      h("label", { for: why.id }, required ? "Why (required, for the history)" : "Why (optional, for the history)"), why,
      h("div.buttons", {}, h("button.danger", { value: "yes" }, yes), h("button", { value: "no", formnovalidate: true }, no))));
  // The page's policy lets no form be sent anywhere, this kind included.
  dialog.firstChild.addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close(event.submitter?.value ?? "no");
  });
  return {
    element: dialog,
    ask(what, called) {
      if (what) text.textContent = what;
      if (called) heading.textContent = called;
      why.value = "";
      dialog.returnValue = "no";
      dialog.showModal();
      return new Promise((resolve) =>
        dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? why.value : null), { once: true }));
    },
  };
}
