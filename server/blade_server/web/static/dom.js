// Building and changing the page. Text goes in as text only, so that nothing of a row or a message can become markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: h("a.link", {href: "#/"}, "text", child). Functions become listeners, null and false are left out. */
export function h(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  return build(document.createElement(tag), classes, attributes, children);
}

/** The same for SVG. */
export function svg(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  return build(document.createElementNS(SVG, tag), classes, attributes, children);
}

// On a phone rows are laid out as cards, and browsers then forget that a table is one.
const ROLES = { TABLE: "table", THEAD: "rowgroup", TBODY: "rowgroup", TR: "row", TD: "cell" };
const SCOPES = { col: "columnheader", row: "rowheader" };

function build(element, classes, attributes, children) {
  set(element, "role", attributes.role ?? ROLES[element.tagName] ?? SCOPES[attributes.scope]);
  element.classList.add(...classes);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else set(element, name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sets or removes an attribute, only if it differs: an untouched page costs no layout. */
export function set(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** Sets the text, only if it differs. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Brings the children of a list in line with `items`, keeping the element of each key: focus and selection survive. */
export function keyed(parent, known, items, keyOf, make) {
  const seen = new Set();
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    seen.add(key);
    let row = known.get(key);
    if (!row) known.set(key, (row = make(item)));
    if (row.element === next) next = next.nextElementSibling;
    else parent.insertBefore(row.element, next);
    row.update(item);
  }
  for (const [key, row] of known) {
    if (seen.has(key)) continue;
    row.element.remove();
    known.delete(key);
  }
}

let saidLast = "";
/** Tells a screen reader, once, without moving the focus. */
export function say(message) {
  const region = document.getElementById("said");
  // The same words twice are no change, and would not be read.
  saidLast = saidLast === message ? message + "\u00a0" : message;
  region.textContent = saidLast;
}

/** A message that goes away by itself; errors stay until they are dismissed. */
export function toast(message, kind = "info") {
  const close = h("button.icon", { type: "button", "aria-label": "Dismiss", click: () => box.remove() }, "×");
  const box = h("div.toast", { role: kind === "error" ? "alert" : null, "data-kind": kind }, h("span", {}, message), close);
  document.getElementById("toasts").append(box);
  if (kind !== "error") {
    say(message);
    setTimeout(() => box.remove(), 6000);
  }
}
