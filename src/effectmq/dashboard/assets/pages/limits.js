// Limits of the fleet, what runs under them and what waits for them.

import { api } from "../lib/api.js";
import { fill, h } from "../lib/dom.js";
import { tag } from "../lib/links.js";
import { live } from "../lib/live.js";
import { table } from "../lib/table.js";
import { count, many, short } from "../lib/text.js";
import { ago, span } from "../lib/times.js";

const EVERY_MS = 3_000;
const MOST_LINES = 5;

export async function show(page) {
  const limits = table(
    "Limits",
    [
      { title: "limit", cell: (limit) => short(limit.name, 120), class: "wide" },
      { title: "of each", cell: (limit) => (limit.only ? `${limit.key} = ${short(limit.only, 60)}` : limit.key || "route") },
      { title: "admits", cell: admits },
      { title: "running", cell: (limit) => count(limit.running), class: "num" },
      { title: "waiting", cell: (limit) => count(limit.waiting), class: "num" },
      { title: "oldest", cell: (limit) => (limit.oldest_ms ? ago(limit.oldest_ms) : "") },
      { title: "in use", cell: lines, class: "wide" },
      { title: "set by", cell: (limit) => [short(limit.set_by, 60), limit.source === "operator" ? [" ", tag("operator", "warn")] : ""] },
    ],
    {
      key: (limit) => limit.name,
      empty: () => [h("strong", {}, "No limit is set."), "A program sets one with app.limit(), an operator with effectmq limits set."],
    },
  );
  const waiting = h("span", { class: "dim" });
  fill(page, h("div", { class: "head" }, h("h1", {}, "Limits"), waiting), h("section", { class: "panel" }, limits.element));
  live(async (signal) => {
    const told = await api.get("/limits", { signal });
    const all = told.waiting.reduce((sum, route) => sum + route.waiting, 0);
    fill(waiting, all ? `${many(all, "effect")} wait outside of the workers` : "nothing waits for admission");
    limits.show(told.limits);
  }, EVERY_MS);
}

function admits(limit) {
  const said = [limit.concurrency ? `${count(limit.concurrency)} at a time` : "", limit.rate, limit.breaker ? `shut for ${span(limit.cooldown_s)} after ${many(limit.breaker, "failure")}` : ""];
  return said.filter(Boolean).join(", ") || "heeds waits";
}

function lines(limit) {
  return limit.lines.slice(0, MOST_LINES).map((line) =>
    h(
      "div",
      {},
      `${short(line.value, 60) || "all"}: ${count(line.running)} running, ${count(line.waiting)} waiting `,
      line.shut ? tag(line.opens_in_ms ? `shut for ${span(line.opens_in_ms / 1000)}` : "one alone asks", "bad") : "",
    ),
  );
}
