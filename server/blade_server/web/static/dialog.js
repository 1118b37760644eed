// A question before something that cannot be taken back.

import { h } from "./dom.js";

let dialogs = 0;

/** `ask()` gives the reason that was typed (may be empty), null if it is to be left. */
export function confirmation({ title, about, yes, no }) {
  const id = `sure-${++dialogs}`;
  const why = h("input", { id: `${id}-why`, maxlength: 1000, autocomplete: "off" });
  const text = h("p", {}, about);
  const dialog = h("dialog", { "aria-labelledby": id },
    h("form", { method: "dialog" },
      h("h2", { id }, title), text,
      h("label", { for: why.id }, "Why (optional, for the history)"), why,
      h("div.buttons", {}, h("button.danger", { value: "yes" }, yes), h("button", { value: "no" }, no))));
  // The page's policy lets no form be sent anywhere, this kind included.
  dialog.firstChild.addEventListener("submit", (event) => {
    event.preventDefault();
    dialog.close(event.submitter?.value ?? "no");
  });
  return {
    element: dialog,
    ask(what) {
      if (what) text.textContent = what;
      why.value = "";
      dialog.returnValue = "no";
      dialog.showModal();
      return new Promise((resolve) =>
        dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? why.value : null), { once: true }));
    },
  };
}
