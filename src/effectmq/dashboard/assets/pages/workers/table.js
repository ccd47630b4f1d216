// Workers as rows.

import { h } from "../../lib/dom.js";
import { tag } from "../../lib/links.js";
import { table } from "../../lib/table.js";
import { count, short } from "../../lib/text.js";
import { ago, span } from "../../lib/times.js";

const STATES = { ready: "good", paused: "warn", draining: "warn", stopping: "warn", waiting: "warn", starting: "" };
// A loop that is later than this, in seconds, is held by something.
const LATE_S = 0.5;

/** @param {{empty: string, more?: Array}} how `more` are further columns. */
export function workerTable({ empty, more = [] }) {
  const shown = table(
    "Workers",
    [
      { title: "worker", cell: (worker) => h("span", { class: "big" }, short(worker.name, 40)) },
      { title: "state", cell: state },
      { title: "routes", cell: (worker) => worker.routes.map((route) => [h("span", { class: "route" }, routeWords(route)), " "]), class: "wide" },
      { title: "in flight", cell: (worker) => `${count(worker.in_flight)} of ${count(worker.slots)}`, class: "num" },
      { title: "takes version", cell: (worker) => short(worker.worker_version ?? "", 40), class: "later" },
      { title: "loop lag", cell: (worker) => h("span", { class: worker.loop_lag_s > LATE_S ? "bad strong" : "" }, span(worker.loop_lag_s)), class: "num later" },
      { title: "host", cell: (worker) => short(`${worker.host ?? ""} ${worker.pid ?? ""}`, 36), class: "later" },
      { title: "version", cell: (worker) => short([worker.app_version, worker.version].filter(Boolean).join(" / "), 30), class: "later" },
      { title: "up since", cell: (worker) => ago(worker.started_ms), class: "num later" },
      ...more,
    ],
    {
      key: (worker) => `${worker.name} ${worker.host} ${worker.pid}`,
      row: (worker) => ({ "data-worker": worker.name }),
      empty: () => [h("strong", {}, empty), "Start one: effectmq worker module:app"],
    },
  );
  return { element: shown.element, show: (workers) => shown.show(workers ?? []) };
}

function state(worker) {
  if (!worker.answered) return h("span", {}, tag("silent", "bad"), " seen ", ago(worker.seen_ms), " ago");
  return [tag(worker.state, STATES[worker.state]), worker.detail ? h("span", { class: "dim" }, ` ${short(worker.detail, 60)}`) : ""];
}

function routeWords(route) {
  const paused = route.paused ? "⏸ " : "";
  return `${paused}${route.route} ${route.in_flight}/${route.slots}`;
}
