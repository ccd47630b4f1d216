// What was spent, in tokens and in money, and how much may be.

import { read, write } from "../lib/address.js";
import { api } from "../lib/api.js";
import { dialog, doing, note } from "../lib/dialog.js";
import { fill, h } from "../lib/dom.js";
import { sessionLink, tag } from "../lib/links.js";
import { live } from "../lib/live.js";
import { operates } from "../lib/me.js";
import { table } from "../lib/table.js";
import { count, dollars, many, short } from "../lib/text.js";
import { ago } from "../lib/times.js";

const EVERY_MS = 5_000;
const DIMENSIONS = ["model", "tenant", "session"];
const AGES = [["1", "today and yesterday"], ["7", "7 days"], ["30", "30 days"], ["all", "all that is kept"]];
const DAY_S = 86_400;

export async function show(page) {
  const chosen = read(["by", "days"]);
  const total = h("span", { class: "dim" });
  const by = choice("summed up by", DIMENSIONS.map((each) => [each, each]), chosen.by[0] ?? "model");
  const days = choice("over", AGES, chosen.days[0] ?? "30");
  const spenders = table(
    "Spend",
    [{ title: "who", cell: who, class: "wide" }, ...amounts()],
    { key: (row) => `${by.select.value} ${row.name}`, empty: () => [h("strong", {}, "Nothing was spent."), "Calls of models are counted when their outcome is recorded."] },
  );
  const daily = table(
    "Spend by day",
    [{ title: "day (UTC)", cell: (row) => row.day }, ...amounts()],
    { key: (row) => row.day, empty: () => [h("strong", {}, "Nothing was spent.")] },
  );
  const ceilings = table(
    "Ceilings",
    [
      { title: "for", cell: holder, class: "wide" },
      { title: "ceiling", cell: (row) => [row.usd === null ? "" : money(row.usd), row.tokens === null ? "" : many(row.tokens, "token")].filter(Boolean).join(" and "), class: "num" },
      { title: "per", cell: (row) => row.per },
      { title: "then", cell: (row) => tag(row.on_exceeded, row.on_exceeded === "wait" ? "warn" : "") },
      { title: "set by", cell: (row) => row.source, class: "later" },
      { title: "set", cell: (row) => `${ago(row.changed_ms)} ago`, class: "num later" },
      ...(operates ? [{ title: "change", quiet: true, cell: buttons }] : []),
    ],
    { key: (row) => `${row.by} ${row.per} ${row.name === null ? "" : `= ${row.name}`}`, empty: () => [h("strong", {}, "There are no ceilings."), "Set one here, or with: effectmq spend limit set"] },
  );
  fill(
    page,
    h("div", { class: "head" }, h("h1", {}, "Spend"), total),
    h("section", { class: "panel" }, h("div", { class: "filters" }, by.label, days.label), spenders.element),
    h(
      "section",
      { class: "panel" },
      h("header", {}, h("h2", {}, "Ceilings"), operates && h("button", { type: "button", on: { click: () => change() } }, "set a ceiling…")),
      ceilings.element,
    ),
    h("section", { class: "panel" }, h("header", {}, h("h2", {}, "By day")), daily.element),
  );

  function who(row) {
    if (row.name === null) return h("span", { class: "dim" }, "(none)");
    return by.select.value === "session" ? sessionLink(row.name) : h("span", { class: "mono" }, short(row.name, 80));
  }

  function buttons(row) {
    return h(
      "span",
      { class: "buttons" },
      h("button", { type: "button", "aria-label": `change the ceiling for ${words(row)}`, on: { click: () => change(row) } }, "change…"),
      " ",
      h("button", { type: "button", class: "danger", "aria-label": `clear the ceiling for ${words(row)}`, on: { click: (event) => clear(event.currentTarget, row) } }, "clear"),
    );
  }

  async function clear(button, { by: dimension, name, per }) {
    const answer = await doing(button, null, () => api.post("/spend/ceilings/clear", { by: dimension, name, per }));
    if (answer) note(answer.cleared ? "The ceiling is removed." : "It was removed already.");
    await refresh();
  }

  async function change(row) {
    if (await ceilingDialog(row)) await refresh();
  }

  const { now: refresh } = live(async (signal) => {
    const query = { by: by.select.value, newer_than_s: days.select.value === "all" ? undefined : Number(days.select.value) * DAY_S };
    const seen = await api.get("/spend", { query, signal });
    fill(total, totals(seen.total));
    spenders.show(seen.rows);
    daily.show([...seen.days].reverse());
    ceilings.show(seen.ceilings);
  }, EVERY_MS);
  for (const one of [by, days]) {
    one.select.addEventListener("change", () => {
      write({ by: by.select.value, days: days.select.value });
      refresh();
    });
  }
}

function choice(words, options, value) {
  const select = h("select", {}, options.map(([each, shown]) => h("option", { value: each, selected: each === value }, shown)));
  return { select, label: h("label", {}, words, select) };
}

function amounts() {
  return [
    { title: "calls", cell: (row) => count(row.calls), class: "num" },
    { title: "tokens in", cell: (row) => count(row.input_tokens), class: "num later" },
    { title: "of the cache", cell: (row) => count(row.cached_tokens), class: "num later" },
    { title: "tokens out", cell: (row) => count(row.output_tokens), class: "num later" },
    { title: "cost", cell: (row) => (row.unpriced_calls < row.calls ? money(row.usd) : "–"), class: "num" },
    { title: "without a price", cell: (row) => (row.unpriced_calls ? h("span", { class: "warn" }, count(row.unpriced_calls)) : ""), class: "num later", known: (row) => row.unpriced_calls > 0 },
  ];
}

function money(usd) {
  return dollars(usd) || "$0";
}

function totals(sums) {
  const without = sums.unpriced_calls ? `, ${many(sums.unpriced_calls, "call")} without a known price` : "";
  return `${money(sums.usd)} for ${many(sums.calls, "call")}${without}`;
}

function words({ by, name }) {
  if (by === "all") return "everything";
  return name === null ? `each ${by}` : `${by} ${short(name, 60)}`;
}

function holder(row) {
  return row.name === null ? words(row) : [`${row.by} `, h("span", { class: "mono" }, short(row.name, 80))];
}

/** Ask for a ceiling, and set it; of one that exists only the amounts change. */
function ceilingDialog(row) {
  return dialog(row ? `The ceiling for ${words(row)}` : "Set a ceiling", (close) => {
    const fixed = Boolean(row);
    const whose = h("select", { name: "by", disabled: fixed }, ["tenant", "session", "model", "all"].map((each) => h("option", { value: each, selected: row?.by === each }, each === "all" ? "everything" : each)));
    const name = h("input", { name: "name", maxlength: 2000, autocomplete: "off", disabled: fixed, value: row?.name ?? "" });
    const per = h("select", { name: "per", disabled: fixed }, ["day", "month", "ever"].map((each) => h("option", { value: each, selected: (row?.per ?? "month") === each }, each)));
    const usd = h("input", { name: "usd", inputmode: "decimal", autocomplete: "off", value: row?.usd ?? "", autofocus: true });
    const tokens = h("input", { name: "tokens", type: "number", min: 0, step: 1, value: row?.tokens ?? "" });
    const then = h("select", { name: "then" }, ["refuse", "wait"].map((each) => h("option", { value: each, selected: row?.on_exceeded === each }, each)));
    const place = h("div", { "aria-live": "polite" });
    const go = h("button", { class: "main" }, "set it");
    const body = () => ({
      by: whose.value,
      name: whose.value === "all" || (!fixed && !name.value) ? null : fixed ? row.name : name.value,
      per: per.value,
      usd: usd.value.trim() || null,
      tokens: tokens.value === "" ? null : Number(tokens.value),
      on_exceeded: then.value,
    });
    return [
      h(
        "form",
        {
          on: {
            submit: async (event) => {
              event.preventDefault();
              const answer = await doing(go, place, () => api.post("/spend/ceilings", body()));
              if (!answer) return;
              note(`The ceiling for ${words(answer)} is set.`);
              close(answer);
            },
          },
        },
        h("p", {}, "Calls of models that begin after it was reached are refused, or wait. Other effects go on."),
        h("label", { class: "field" }, "for", whose),
        h("label", { class: "field" }, "which one; empty for each of them", name),
        h("label", { class: "field" }, "per", per),
        h("label", { class: "field" }, "US dollars", usd),
        h("label", { class: "field" }, "tokens", tokens),
        h("label", { class: "field" }, "when it is reached", then),
        place,
        h("div", { class: "actions" }, h("button", { type: "button", on: { click: () => close() } }, "close"), go),
      ),
    ];
  });
}
