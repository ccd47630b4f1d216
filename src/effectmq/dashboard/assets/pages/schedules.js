// Effects that are asked for again and again: when, how late, and what is wrong.

import { api } from "../lib/api.js";
import { dialog, doing, note } from "../lib/dialog.js";
import { fill, h } from "../lib/dom.js";
import { sessionPath, tag } from "../lib/links.js";
import { live } from "../lib/live.js";
import { operates } from "../lib/me.js";
import { table } from "../lib/table.js";
import { count, many, short } from "../lib/text.js";
import { moment, span } from "../lib/times.js";

const MISSED = { skip: "left out", one: "the last one", all: "up to a hundred" };

export async function show(page) {
  const summary = h("span", { class: "dim" });
  const list = table(
    "Schedules",
    [
      { title: "schedule", cell: (row) => h("a", { class: "big", href: sessionPath(`schedule:${row.name}`) }, row.name) },
      { title: "fires", cell: fires },
      { title: "asks for", cell: (row) => short(row.what, 60) },
      { title: "next", cell: (row) => (row.paused ? tag("paused", "warn") : moment(row.next_ms)) },
      { title: "last", cell: (row) => (row.last_ms ? moment(row.last_ms) : "–") },
      { title: "late", cell: (row) => (row.last_ms ? span(row.late_ms / 1000) : "–"), class: "num later" },
      { title: "carried out", cell: (row) => count(row.fired), class: "num" },
      { title: "given up", cell: (row) => h("span", { title: `missed times: ${MISSED[row.missed]}` }, count(row.given_up)), class: "num later" },
      { title: "problem", cell: (row) => h("span", { class: "bad" }, short(row.problem ?? "", 200)), class: "wide", known: (row) => Boolean(row.problem) },
      ...(operates ? [{ title: "steering", quiet: true, cell: buttons }] : []),
    ],
    {
      key: (row) => row.name,
      empty: () => [h("strong", {}, "There are no schedules in this namespace."), "Make one with app.schedule(…), or: effectmq schedule add"],
      row: (row) => ({ "data-schedule": row.name }),
    },
  );
  fill(page, h("div", { class: "head" }, h("h1", {}, "Schedules"), summary), h("section", { class: "panel" }, list.element));

  function buttons(row) {
    return h("span", { class: "buttons" }, turned(row), " ", removing(row));
  }

  function turned(row) {
    const word = row.paused ? "resume" : "pause";
    return button(word, row.name, "", async (event) => {
      await doing(event.currentTarget, null, () => api.post(`${where(row)}/${word}`));
      await refresh();
    });
  }

  function removing(row) {
    return button("remove…", row.name, "danger", async () => {
      if (await sure(row)) note(`Schedule ${short(row.name, 60)} is removed.`);
      await refresh();
    });
  }

  const { now: refresh } = live(async (signal) => {
    const { schedules } = await api.get("/schedules", { signal });
    fill(summary, many(schedules.length, "schedule"));
    list.show(schedules);
  });
}

function fires(row) {
  if (row.cron === null) return `every ${span(row.every_s)}`;
  return [h("span", { class: "mono" }, short(row.cron, 60)), " ", h("span", { class: "dim" }, short(row.zone, 60))];
}

function where(row) {
  return `/schedules/${encodeURIComponent(row.name)}`;
}

function sure(row) {
  return dialog(`Remove ${short(row.name, 60)}`, (close) => {
    const place = h("div", { "aria-live": "polite" });
    const go = h("button", { type: "button", class: "danger", autofocus: true }, "remove");
    go.addEventListener("click", async () => {
      if (await doing(go, place, () => api.delete(where(row)))) close(true);
    });
    const again = row.origin === "code" ? "A program has it: it is there again when a worker of that program starts. Pause it to keep it away." : "";
    return [
      h("p", {}, "It fires no more. The effects that it asked for stay. ", again),
      place,
      h("div", { class: "actions" }, h("button", { type: "button", on: { click: () => close() } }, "close"), go),
    ];
  });
}

function button(words, name, kind, click) {
  return h("button", { type: "button", class: kind, "aria-label": `${words.replace("…", "")} ${name}`, on: { click } }, words);
}
