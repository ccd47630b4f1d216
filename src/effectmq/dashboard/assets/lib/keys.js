// The keyboard: moving between rows and pages.

import { dialog } from "./dialog.js";
import { h } from "./dom.js";

const PAGES = { o: "/", d: "/dead-letters", e: "/effects", c: "/schedules", w: "/workers", q: "/queues", l: "/limits", t: "/topology", a: "/audit", m: "/spend", s: "/sessions" };
const HELP = [
  ["j, k", "next and last row"],
  ["Enter", "open the row"],
  ["x", "choose the row"],
  ["/", "go to the search"],
  ["g then o, d, e, s, c, w, q, l, m, t, a", "overview, dead letters, effects, sessions, schedules, workers, queues, limits, spend (money), topology, audit"],
  ["?", "this list"],
];
const WAIT_MS = 1_500;

let goingSince = 0;

/** Listen; what is typed into a field is left alone. */
export function listenForKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=checkbox]), textarea, select, dialog")) return;
    if (act(event.key)) event.preventDefault();
  });
}

function act(key) {
  const now = Date.now();
  if (now - goingSince < WAIT_MS && PAGES[key]) {
    location.assign(PAGES[key]);
    return true;
  }
  goingSince = 0;
  switch (key) {
    case "g":
      goingSince = now;
      return true;
    case "j":
      return move(1);
    case "k":
      return move(-1);
    case "x":
      document.activeElement?.closest("tr")?.querySelector("input[type=checkbox]")?.click();
      return true;
    case "/":
      document.querySelector("input[type=search]")?.focus();
      return true;
    case "?":
      showKeys();
      return true;
    default:
      return false;
  }
}

function move(step) {
  const rows = [...document.querySelectorAll("tbody tr")].filter((row) => row.querySelector("a, button, input"));
  if (!rows.length) return false;
  const here = rows.indexOf(document.activeElement?.closest("tr"));
  const next = rows[Math.max(0, Math.min(rows.length - 1, here + step))];
  next.querySelector("a, button, input").focus();
  return true;
}

/** The list of keys. */
export function showKeys() {
  void dialog("Keys", () => [
    h(
      "dl",
      { class: "keys" },
      HELP.map(([keys, meaning]) => h("div", {}, h("dt", {}, h("kbd", {}, keys)), h("dd", {}, meaning))),
    ),
  ]);
}
