// The workers, and what can be asked of them while they run.

import { api } from "../lib/api.js";
import { fill, h } from "../lib/dom.js";
import { live } from "../lib/live.js";
import { operates } from "../lib/me.js";
import { ask, pauseButton } from "../lib/steering.js";
import { count, many } from "../lib/text.js";
import { workerTable } from "./workers/table.js";

export async function show(page) {
  const summary = h("span", { class: "dim" });
  const list = workerTable({
    empty: "No worker answers.",
    more: operates ? [{ title: "steering", quiet: true, cell: buttons }] : [],
  });
  fill(
    page,
    h("div", { class: "head" }, h("h1", {}, "Workers"), summary),
    h("section", { class: "panel" }, list.element),
  );

  function buttons(worker) {
    const target = { workers: [worker.name] };
    const then = (word, meaning) => async () => {
      await ask(word, target, worker.name, meaning);
      await refresh();
    };
    const paused = worker.routes.some((route) => route.paused && !route.paused.everywhere);
    return h(
      "span",
      { class: "buttons" },
      pauseButton(target, paused, worker.name, refresh),
      " ",
      action("concurrency…", worker.name, then("concurrency", "For each of its routes, from now on, until it is started again.")),
      " ",
      action("drain…", worker.name, then("drain", "It takes nothing more, ends what runs, and stops."), "danger"),
    );
  }

  const { now: refresh } = live(async (signal) => {
    const answer = await api.get("/workers", { signal });
    fill(summary, many(answer.workers.length, "worker"), answer.silent ? h("span", { class: "bad" }, `, ${count(answer.silent)} that consume did not answer`) : "");
    list.show(answer.workers);
  });
}

function action(words, name, click, kind = "") {
  return h("button", { type: "button", class: kind, "aria-label": `${words.replace("…", "")} ${name}`, on: { click } }, words);
}
