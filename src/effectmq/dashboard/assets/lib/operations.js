// Something that goes on at the server for a while: its progress, until it has ended.

import { api } from "./api.js";
import { doing } from "./dialog.js";
import { fill, h } from "./dom.js";
import { count, many } from "./text.js";

const EVERY_MS = 300;

/**
 * Follow an operation.
 * @param {object} begun What the API answered when it began.
 * @param {Element} where Where its progress is shown.
 * @returns {Promise<object>} The operation as it ended.
 */
export async function follow(begun, where) {
  let operation = begun;
  const bar = h("progress", { "aria-label": "progress" });
  const words = h("p", { role: "status" });
  fill(where, bar, words);
  for (;;) {
    const { done, total, state, dry_run: dry } = operation;
    if (total) {
      bar.max = total;
      bar.value = done;
    }
    fill(words, `${dry ? "looked at" : "done"}: ${count(done)}${total === null ? "" : ` of ${count(total)}`}`);
    if (state !== "running") return operation;
    await new Promise((next) => setTimeout(next, EVERY_MS));
    operation = await again(operation, words);
  }
}

// The server may be away for a moment; the operation goes on without anybody looking.
async function again(operation, words) {
  try {
    return await api.get(`/operations/${encodeURIComponent(operation.id)}`);
  } catch (problem) {
    if (!problem.passes) throw problem;
    fill(words, `${problem.message} It is asked again.`);
    return operation;
  }
}

/** What goes on at the server, for everybody to see and to stop. */
export function underWay(operations, mayStop) {
  return operations
    .filter((operation) => operation.state === "running" && !operation.dry_run)
    .map((operation) => {
      const stop = h("button", { type: "button", "aria-label": `stop the ${operation.action} of ${operation.who}` }, "stop");
      stop.addEventListener("click", () => doing(stop, null, () => api.delete(`/operations/${encodeURIComponent(operation.id)}`)));
      const total = operation.total === null ? "" : ` of ${count(operation.total)}`;
      return h(
        "div",
        { class: "banner", "data-key": operation.id },
        h("p", {}, h("strong", {}, `${operation.action} by ${operation.who}`), `: ${count(operation.done)}${total}`),
        operation.total && h("progress", { max: operation.total, value: operation.done, "aria-label": "progress" }),
        mayStop && stop,
      );
    });
}

const COUNTS = [
  ["skipped", "cannot be replayed as they are"],
  ["failed", "were accepted by no queue"],
  ["gone", "were gone when their turn came"],
  ["unseen", "could not be read before they were gone"],
  ["copies", "second copies were removed"],
];

/** What became of an operation, in sentences. */
export function outcome(operation) {
  const report = operation.report ?? {};
  const did = { replay: "replayed", edit: "edited and replayed", purge: "purged", cancel: "cancelled" }[operation.action];
  const done = report.done ?? operation.done;
  const lines = [
    h(
      "p",
      { class: operation.state === "failed" ? "bad strong" : "strong" },
      operation.dry_run ? `${many(done, "letter")} would be ${did}.` : `${many(done, "letter")} ${did}.`,
    ),
    ...COUNTS.filter(([name]) => report[name]).map(([name, words]) => h("p", { class: "warn" }, `${count(report[name])} ${words}.`)),
  ];
  const problem = operation.problem || report.stopped;
  if (problem) lines.push(h("p", { class: "bad", role: "alert" }, problem));
  const problems = report.problems ?? [];
  if (problems.length) {
    lines.push(
      h(
        "details",
        { open: problems.length < 6 },
        h("summary", {}, many(problems.length, "sentence")),
        h("ul", { class: "mono" }, problems.map((one) => h("li", {}, one))),
      ),
    );
  }
  return lines;
}
