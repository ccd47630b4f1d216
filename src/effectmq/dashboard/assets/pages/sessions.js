// Sessions, in which something changed last first.

import { api } from "../lib/api.js";
import { fill, h } from "../lib/dom.js";
import { sessionLink } from "../lib/links.js";
import { live } from "../lib/live.js";
import { table } from "../lib/table.js";
import { count } from "../lib/text.js";
import { ago, span } from "../lib/times.js";
import { pager } from "../lib/pager.js";

const PAGE = 50;

export async function show(page) {
  const pages = pager(() => refresh());
  const list = table(
    "Sessions",
    [
      { title: "session", cell: (row) => sessionLink(row.session_id), class: "big" },
      { title: "effects", cell: (row) => `${count(row.effects)}${row.more ? "+" : ""}`, class: "num" },
      { title: "in progress", cell: (row) => count(row.in_progress), class: "num" },
      { title: "began", cell: (row) => ago(row.first_ms), class: "num" },
      { title: "last change", cell: (row) => ago(row.last_ms), class: "num" },
      { title: "took", cell: (row) => span((row.last_ms - row.first_ms) / 1000), class: "num" },
    ],
    { key: (row) => row.session_id, empty: () => [h("strong", {}, "The journal has no session."), "A session is there with its first effect."] },
  );
  fill(
    page,
    h("div", { class: "head" }, h("h1", {}, "Sessions"), h("span", { class: "dim" }, "in which something changed last comes first")),
    h("section", { class: "panel" }, list.element, pages.element),
  );
  const { now: refresh } = live(async (signal) => {
    const seen = await api.get("/sessions", { query: { limit: PAGE, cursor: pages.cursor }, signal });
    pages.turned(seen.next);
    list.show(seen.sessions);
  }, 3_000);
}
