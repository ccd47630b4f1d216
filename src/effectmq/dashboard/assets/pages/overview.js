// Everything at one look: what needs a person first, then the routes and the workers.

import { api, path } from "../lib/api.js";
import { fill, h, reconcile } from "../lib/dom.js";
import { tag } from "../lib/links.js";
import { live } from "../lib/live.js";
import { operates } from "../lib/me.js";
import { spark } from "../lib/spark.js";
import { pauseButton } from "../lib/steering.js";
import { table } from "../lib/table.js";
import { count, many, rate, short } from "../lib/text.js";
import { about } from "../lib/times.js";
import { workerTable } from "./workers/table.js";

export async function show(page) {
  let now = 0;
  let bucket = 10;
  const needs = h("section", { class: "needs", "aria-label": "what needs a person" });
  const sums = h("p", { class: "dim" });
  const routes = table(
    "Routes",
    [
      { title: "route", cell: (row) => h("a", { href: path("/effects", { kind: row.route.split(".")[0] }), class: "big" }, row.route) },
      { title: "state", cell: state },
      { title: "failing", cell: failing, class: "num" },
      { title: "parked", cell: parked, class: "num" },
      { title: "ready", cell: (row) => count(row.ready), class: "num" },
      { title: "in flight", cell: (row) => count(row.in_flight), class: "num" },
      { title: "oldest", cell: (row) => (row.oldest_ms ? about((now - row.oldest_ms) / 1000) : h("span", { class: "dim" }, "–")), class: "num" },
      { title: "waiting", cell: (row) => count(row.waiting), class: "num later" },
      { title: "rate /s", cell: (row) => rate(row.rate), class: "num" },
      { title: "settled", cell: history, class: "later" },
      { title: "consumers", cell: (row) => count(row.consumers), class: "num later" },
      ...(operates ? [{ title: "steering", quiet: true, cell: (row) => pauseButton({ routes: [row.route] }, row.paused !== null, row.route, refresh) }] : []),
    ],
    {
      key: (row) => row.route,
      row: (row) => ({ "data-route": row.route }),
      empty: () => [h("strong", {}, "No route has a queue yet."), "A worker declares what it needs when it starts: effectmq worker module:app"],
    },
  );
  const workers = workerTable({ empty: "No worker answers." });
  const fleet = h("section", { class: "panel", hidden: true }, h("header", {}, h("h2", {}, h("a", { href: "/workers" }, "Workers"))), workers.element);

  function state(row) {
    if (row.paused) return h("span", { title: pauseWords(row.paused) }, tag("paused", "warn"));
    if (row.consumers === 0 && row.ready) return tag("nobody takes it", "bad");
    if (row.failing >= 0.5) return tag("failing", "bad");
    return row.consumers ? tag("works", "good") : h("span", { class: "dim" }, "idle");
  }

  function history(row) {
    const settled = row.history.reduce((sum, one) => sum + one, 0);
    return spark(row.history, `${many(settled, "effect")} settled in ${about(row.history.length * bucket)}`);
  }

  function failing(row) {
    if (row.failing === null) return h("span", { class: "dim" }, "–");
    const percent = `${Math.round(row.failing * 100)} %`;
    if (!row.failing) return percent;
    return h("a", { href: path("/effects", { state: "failed", kind: row.route.split(".")[0] }), class: row.failing > 0.1 ? "bad strong" : "" }, percent);
  }

  function parked(row) {
    if (!row.parked) return count(row.parked);
    return h("a", { href: path("/dead-letters", { route: row.route }), class: "bad strong" }, count(row.parked));
  }

  fill(
    page,
    h("div", { class: "head" }, h("h1", {}, "Overview"), sums),
    needs,
    h("section", { class: "panel" }, h("header", {}, h("h2", {}, "Routes")), routes.element),
    fleet,
  );

  const { now: refresh } = live(async (signal) => {
    const seen = await api.get("/overview", { signal });
    now = seen.now_ms;
    bucket = seen.bucket_s;
    const status = seen.effects_by_status;
    fill(
      sums,
      seen.effects === null ? "" : `${many(seen.effects, "effect")}, ${count(status.in_progress ?? 0)} in progress, ${count(status.failed ?? 0)} failed`,
      seen.letters === null ? "" : ` · ${many(seen.letters, "dead letter")}`,
    );
    reconcile(needs, attention(seen));
    routes.show(seen.routes);
    fleet.hidden = seen.workers === null;
    workers.show(seen.workers);
  });
}

const WHERE = {
  dead_letters: "/dead-letters",
  failing: "/effects?state=failed",
  no_consumer: "/workers",
  silent_workers: "/workers",
  topology: "/topology",
};

function attention(seen) {
  const things = seen.attention;
  if (!things.length) {
    return [h("div", { class: "banner good", "data-key": "well" }, h("p", {}, h("strong", {}, "Nothing needs a person."), " Queues are taken from, nothing is parked, nothing fails."))];
  }
  return things.map((one) => {
    const where = WHERE[one.code];
    return h(
      "div",
      { class: `banner ${one.level === "error" ? "bad" : "warn"}`, "data-key": `${one.code} ${one.route ?? ""} ${one.code === "away" ? one.sentence : ""}` },
      h("p", {}, h("strong", {}, short(one.sentence, 600))),
      where && h("a", { href: where }, "look"),
    );
  });
}

function pauseWords(pause) {
  return [pause.by && `paused by ${pause.by}`, pause.why].filter(Boolean).join(": ") || "paused";
}
