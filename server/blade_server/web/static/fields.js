// Fields of a form: a label, a hint, and what is wrong with the value.

import { h, set, text } from "./dom.js";

export function field(label, input, hint) {
  return h("div.field", {}, h("label", { for: input.id }, label), input,
    h("p.quiet", { id: `${input.id}-hint`, hidden: !hint }, hint), h("p.bad", { id: `${input.id}-error`, hidden: true }));
}

export function clear(form, problem) {
  set(problem, "hidden", true);
  for (const input of form.querySelectorAll("[aria-invalid]")) {
    set(input, "aria-invalid", null);
    set(document.getElementById(`${input.id}-error`), "hidden", true);
  }
}

export const camel = (path) => path.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

/** Says it at the field at fault, and goes there; what belongs to no field stands above the buttons. `idOf`: from a field's path to the input's id. */
export function complain(form, problem, error, idOf = camel) {
  const found = [...error.violations].map(([path, description]) => [form.querySelector(`#${CSS.escape(idOf(path))}`), description]).filter(([input]) => input);
  for (const [input, description] of found) {
    const place = document.getElementById(`${input.id}-error`);
    set(input, "aria-invalid", "true");
    text(place, description);
    set(place, "hidden", null);
    for (let group = input.closest("details"); group; group = group.parentElement.closest("details")) group.open = true;
  }
  const elsewhere = error.violations.size > found.length;
  if (!found.length || elsewhere) {
    text(problem, error.message);
    set(problem, "hidden", null);
  }
  if (found.length) found[0][0].focus();
}
