// The queues that exist, and a probe through each route.

import { api, path } from "../lib/api.js";
import { doing } from "../lib/dialog.js";
import { fill, h } from "../lib/dom.js";
import { tag } from "../lib/links.js";
import { live } from "../lib/live.js";
import { operates } from "../lib/me.js";
import { table } from "../lib/table.js";
import { count, rate, short } from "../lib/text.js";
import { about, span } from "../lib/times.js";

const SOURCES = {
  management: "as the management API of RabbitMQ says",
  workers: "as the broker counts, and workers report",
};
const ROLES = { work: "effects", delay: "between attempts", limbo: "given up by the broker", dead: "dead letters" };

export async function show(page) {
  const source = h("span", { class: "dim" });
  const ping = h("button", { type: "button" }, "ping all routes");
  const answers = h("div", { "aria-live": "polite" });
  const queues = table(
    "Queues",
    [
      { title: "queue", cell: (row) => h("span", { class: "big mono" }, row.queue) },
      { title: "for", cell: role },
      { title: "ready", cell: (row) => count(row.ready), class: "num" },
      { title: "in flight", cell: (row) => count(row.in_flight), class: "num", known: (row) => known(row.in_flight) },
      { title: "in /s", cell: (row) => rate(row.rate_in), class: "num later", known: (row) => known(row.rate_in) },
      { title: "out /s", cell: (row) => rate(row.rate_out), class: "num later", known: (row) => known(row.rate_out) },
      { title: "oldest at most", cell: (row) => about(row.oldest_s), class: "num later", known: (row) => known(row.oldest_s) },
      { title: "waited last", cell: (row) => span(row.waited_s), class: "num later", known: (row) => known(row.waited_s) },
      { title: "consumers", cell: consumers, class: "num" },
    ],
    {
      key: (row) => row.queue,
      empty: () => [h("strong", {}, "There are no queues in this namespace."), "A worker declares what it needs, or: effectmq topology apply"],
    },
  );
  const probes = table(
    "Probes",
    [
      { title: "route", cell: (row) => row.route },
      { title: "answer", cell: (row) => (row.problem ? h("span", { class: "bad" }, short(row.problem, 200)) : tag("answered", "good")), class: "wide" },
      { title: "worker", cell: (row) => short(row.worker, 60) },
      { title: "ms", cell: (row) => (row.ms === null ? "–" : row.ms.toFixed(1)), class: "num" },
    ],
    { key: (row) => row.route, empty: () => [h("strong", {}, "No route has a queue.")] },
  );
  ping.addEventListener("click", async () => {
    const report = await doing(ping, answers, () => api.post("/ping", {}));
    if (!report) return;
    probes.show(report.routes);
    fill(answers, h("section", { class: "panel" }, h("header", {}, h("h2", {}, "Probes, through the real queues and back")), probes.element));
  });
  fill(
    page,
    h("div", { class: "head" }, h("h1", {}, "Queues"), source, h("div", { class: "tools" }, operates && ping)),
    answers,
    h("section", { class: "panel" }, queues.element),
  );

  live(async (signal) => {
    const seen = await api.get("/queues", { signal });
    fill(source, SOURCES[seen.source] ?? "", seen.problem ? h("span", { class: "warn" }, ` (${short(seen.problem, 300)})`) : "");
    queues.show(seen.queues);
  });
}

function role(row) {
  if (row.role === "dead") return h("a", { href: "/dead-letters" }, ROLES.dead);
  if (row.role === "work") return h("a", { href: path("/effects", { kind: (row.route ?? "").split(".")[0] }) }, row.route ?? ROLES.work);
  return ROLES[row.role] ?? row.role;
}

function known(value) {
  return value !== null && value !== undefined;
}

function consumers(row) {
  if (row.paused) return h("span", { title: row.paused.why }, tag("paused", "warn"));
  const nobody = row.role === "work" && !row.consumers && row.ready;
  return nobody ? h("span", { class: "bad strong" }, "nobody") : count(row.consumers);
}
