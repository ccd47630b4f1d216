// Effects of the journal: a search, and a list that goes on as long as there is more.

import * as address from "../lib/address.js";
import { api } from "../lib/api.js";
import { fill, h } from "../lib/dom.js";
import { effectPath, sessionLink, status, what } from "../lib/links.js";
import { live } from "../lib/live.js";
import { pager } from "../lib/pager.js";
import { table } from "../lib/table.js";
import { count, short } from "../lib/text.js";
import { ago } from "../lib/times.js";

const PAGE = 50;
const KINDS = ["llm_call", "direct", "tool_call", "exec_code", "checkpoint", "process", "sync_execution_surface", "sleep"];
const STATES = ["in_progress", "waiting", "completed", "failed", "cancelled", "forgotten"];
const AGES = [
  ["", "any time"],
  ["300", "5 minutes"],
  ["3600", "hour"],
  ["86400", "day"],
  ["604800", "week"],
];
const NAMES = ["session", "tool", "model", "kind", "state", "newer_than_s"];

export async function show(page) {
  const found = address.read(NAMES);
  const chosen = Object.fromEntries(NAMES.map((name) => [name, found[name][0] ?? ""]));
  const pages = pager(() => refresh());

  const form = h(
    "form",
    { class: "filters", role: "search" },
    field("session", h("input", { type: "search", name: "session", value: chosen.session })),
    field("kind", select("kind", [["", "any"], ...KINDS.map((kind) => [kind, kind])])),
    field("tool", h("input", { name: "tool", value: chosen.tool })),
    field("model", h("input", { name: "model", value: chosen.model })),
    field("state", select("state", [["", "any"], ...STATES.map((state) => [state, state.replaceAll("_", " ")])])),
    field("changed within the last", select("newer_than_s", AGES)),
    h("button", {}, "search"),
  );
  const place = h("span", { class: "dim" });
  const list = table(
    "Effects",
    [
      { title: "changed", cell: (effect) => ago(effect.updated_ms), class: "num" },
      { title: "state", cell: status },
      { title: "effect", cell: (effect) => h("a", { href: effectPath(effect.id) }, what(effect)) },
      { title: "note", cell: noteOf, class: "wide" },
      { title: "session", cell: (effect) => sessionLink(effect.session_id) },
      { title: "turn", cell: (effect) => short(effect.turn_id, 28), class: "later" },
      { title: "attempts", cell: (effect) => count(effect.attempts), class: "num later" },
      { title: "tokens", cell: tokens, class: "num later" },
    ],
    {
      key: (effect) => effect.id,
      empty: () =>
        !pages.last
          ? [h("strong", {}, "None of this part fits."), "There are older ones: go on with “older”."]
          : [h("strong", {}, "No effect is like that."), "The journal has what workers took; what waits in a queue is in none."],
    },
  );

  function select(name, values) {
    return h(
      "select",
      { name },
      values.map(([value, words]) => h("option", { value, selected: value === chosen[name] }, words)),
    );
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    take();
  });
  form.addEventListener("change", take);
  function take() {
    for (const name of NAMES) chosen[name] = form.elements[name].value.trim();
    address.write(chosen);
    pages.reset();
    void refresh();
  }

  fill(
    page,
    h("div", { class: "head" }, h("h1", {}, "Effects"), place),
    form,
    h("section", { class: "panel" }, list.element, pages.element),
  );

  const { now: refresh } = live(async (signal) => {
    const seen = await api.get("/effects", { query: { ...chosen, limit: PAGE, cursor: pages.cursor }, signal });
    pages.turned(seen.next);
    fill(place, pages.depth ? `page ${pages.depth + 1}` : "what changed last comes first");
    list.show(seen.effects);
  }, 3_000);
}

function field(words, input) {
  return h("label", {}, words, input);
}

function noteOf(effect) {
  if (effect.error) return h("span", { class: "bad" }, short(`${effect.error.code}: ${effect.error.message}`, 140));
  if (effect.status === "in_progress" || effect.status === "waiting") return short(effect.worker ?? "", 60);
  return effect.replayed ? h("span", { class: "dim" }, "sent back after it was parked") : "";
}

function tokens(effect) {
  return effect.tokens ? `${count(effect.tokens.input)} → ${count(effect.tokens.output)}` : "";
}
