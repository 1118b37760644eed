// The router: one view at a time, each with a `stop` that ends what keeps it live.

import { setActor } from "./api.js";
import { h } from "./dom.js";
import { showJob } from "./job.js";
import { showOverview } from "./overview.js";
import { showStart } from "./start.js";

const main = document.getElementById("main");
let view = null;
let first = true;

function route() {
  const [path, query = ""] = location.hash.slice(1).split("?");
  view?.stop();
  main.replaceChildren();
  const parameters = new URLSearchParams(query);
  const [, place = "", id = ""] = path.split("/");
  if (place === "") view = showOverview(main, parameters);
  else if (place === "start") view = showStart(main, parameters);
  else if (place === "jobs" && id) view = showJob(main, decodeURIComponent(id));
  else view = nothing();
  const heading = main.querySelector("h1");
  document.title = `${heading.textContent} · BLADE`;
  for (const a of document.querySelectorAll("nav a")) {
    const here = a.hash === "#/" + place || (place === "jobs" && a.hash === "#/");
    if (here && a.pathname === location.pathname) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  if (!first) {
    heading.tabIndex = -1;
    heading.focus(); // a new view is a new page for who hears it
    scrollTo(0, 0);
  }
  first = false;
}

function nothing() {
  main.append(h("h1", {}, "Nothing here"), h("p", {}, h("a", { href: "#/" }, "All jobs")));
  return { stop() {} };
}

const actor = document.getElementById("actor");
actor.value = localStorage.getItem("actor") ?? "";
actor.addEventListener("change", () => (actor.value = setActor(actor.value)));

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // its fragment would be taken for a view
  main.focus();
});

addEventListener("hashchange", route);
route();
