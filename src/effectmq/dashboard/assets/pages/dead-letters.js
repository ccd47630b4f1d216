// The dead letters: facets, a filter, a list, and what is done with them.

import { api } from "../lib/api.js";
import { note } from "../lib/dialog.js";
import { fill, h, reconcile } from "../lib/dom.js";
import { sessionLink, tag, what } from "../lib/links.js";
import { live } from "../lib/live.js";
import { operates } from "../lib/me.js";
import { underWay } from "../lib/operations.js";
import { pager } from "../lib/pager.js";
import { table } from "../lib/table.js";
import { count, many, short } from "../lib/text.js";
import { ago } from "../lib/times.js";
import { Choice } from "./dead-letters/choice.js";
import * as deeds from "./dead-letters/deeds.js";
import { facets } from "./dead-letters/facets.js";
import { open } from "./dead-letters/letter.js";

const PAGE = 50;

export async function show(page) {
  const choice = new Choice();
  const pages = pager(() => refresh());
  let total = 0;
  let letters = [];

  const summary = h("span", { class: "dim" });
  const goingOn = h("section", { class: "needs", "aria-label": "what goes on" });
  const side = h("aside", { class: "facets", "aria-label": "what the letters have in common" });
  const search = h("input", {
    type: "search",
    name: "text",
    placeholder: "piece of the error",
    "aria-label": "piece of the error",
    value: choice.text,
  });
  const clear = h("button", { type: "button", class: "quiet" }, "clear the filter");
  const meant = h("span", { class: "dim", id: "meant" });
  const buttons = operates
    ? [button("replay…", deeds.replay), button("edit…", deeds.patch), button("purge…", deeds.purge, "danger")]
    : [h("span", { class: "dim" }, "your token may look only")];
  const all = h("input", { type: "checkbox", "aria-label": "choose all letters of this page" });
  const list = table(
    "Dead letters",
    [
      { head: () => all, cell: box },
      { title: "parked", cell: (letter) => ago(letter.parked_ms), class: "num" },
      { title: "reason", cell: (letter) => tag(letter.reason, "bad") },
      { title: "effect", cell: link },
      { title: "error", cell: (letter) => short(letter.detail || letter.code, 160), class: "wide" },
      { title: "session", cell: (letter) => sessionLink(letter.session_id), class: "later" },
      { title: "attempts", cell: (letter) => count(letter.attempts), class: "num later" },
    ],
    {
      key: (letter) => letter.id,
      row: (letter) => ({ class: choice.ids.has(letter.id) ? "chosen" : "" }),
      empty: () =>
        choice.filtered
          ? [h("strong", {}, "No dead letter is like that."), "Take a part of the filter away to see more."]
          : [h("strong", {}, "There are no dead letters."), "Effects that cannot be carried out come here, with their reason."],
    },
  );

  fill(
    page,
    h(
      "div",
      { class: "head" },
      h("h1", {}, "Dead letters"),
      summary,
      h("div", { class: "tools" }, h("a", { href: "/audit" }, "who did what")),
    ),
    goingOn,
    h(
      "div",
      { class: "split" },
      side,
      h(
        "section",
        { class: "panel" },
        h("header", {}, search, clear, meant, h("div", { class: "tools" }, buttons)),
        list.element,
        pages.element,
      ),
    ),
  );

  function button(words, deed, kind = "") {
    return h(
      "button",
      {
        type: "button",
        class: kind,
        on: {
          click: async () => {
            await deed(choice, total);
            choice.ids.clear();
            await refresh();
          },
        },
      },
      words,
    );
  }

  function box(letter) {
    const input = h("input", { type: "checkbox", "aria-label": `choose ${letter.id}`, "data-id": letter.id });
    if (choice.ids.has(letter.id)) input.setAttribute("checked", "");
    return input;
  }

  function link(letter) {
    return h("a", { href: `#${letter.id}`, "data-open": letter.id }, what(letter));
  }

  list.element.addEventListener("change", ({ target }) => {
    const { id } = target.dataset;
    if (!id) return;
    if (target.checked) choice.ids.add(id);
    else choice.ids.delete(id);
    paint();
  });
  all.addEventListener("change", () => {
    for (const letter of letters) {
      if (all.checked) choice.ids.add(letter.id);
      else choice.ids.delete(letter.id);
    }
    paint();
  });
  list.element.addEventListener("click", async (event) => {
    const id = event.target.closest("[data-open]")?.dataset.open;
    if (!id) return;
    event.preventDefault();
    await look(id);
  });
  search.addEventListener("change", () => {
    choice.text = search.value;
    choice.changed();
    changed();
  });
  clear.addEventListener("click", () => {
    choice.clear();
    search.value = "";
    changed();
  });

  async function look(id) {
    try {
      const asked = await open(id, operates);
      if (!asked) return;
      choice.ids = new Set([id]);
      await deeds[asked](choice, 1);
      choice.ids.clear();
      await refresh();
    } catch (problem) {
      note(problem.message, "bad");
    }
  }

  function changed() {
    pages.reset();
    all.checked = false;
    void refresh();
  }

  function paint() {
    const chosen = choice.ids.size;
    fill(meant, chosen ? `${many(chosen, "letter")} chosen` : `${choice.filtered ? "the filter means" : "all"} ${count(total)}`);
    for (const one of buttons) one.disabled = !choice.count(total);
    clear.hidden = !choice.filtered;
    list.show(letters);
  }

  const { now: refresh } = live(async (signal) => {
    const [report, found, { operations }] = await Promise.all([
      api.get("/dead-letters/facets", { query: choice.query, signal }),
      api.get("/dead-letters", { query: { ...choice.query, limit: PAGE, cursor: pages.cursor }, signal }),
      api.get("/operations", { signal }),
    ]);
    reconcile(goingOn, underWay(operations, operates));
    total = report.letters;
    letters = found.letters;
    pages.turned(found.next);
    fill(
      summary,
      many(found.total, "letter"),
      report.oldest_ms ? [", the oldest ", ago(report.oldest_ms), " old"] : "",
      found.exact ? "" : " (others work at the queue; the list may be behind it)",
    );
    reconcile(side, facets(report, choice, changed));
    paint();
  }, 3_000);

  if (location.hash.length > 1) await look(decodeURIComponent(location.hash.slice(1)));
}
