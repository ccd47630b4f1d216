// What is known of the times of an effect, in their order.

import { h } from "../../lib/dom.js";
import { hasFailed } from "../../lib/links.js";
import { count, many } from "../../lib/text.js";
import { moment, span } from "../../lib/times.js";

/** What came after an attempt that did not settle the effect. */
const AFTER = {
  again: ["given back, to be tried again", "warn"],
  left: ["its worker stopped in order", "warn"],
  handed_out: ["handed out, to be answered", ""],
  parked: ["parked", "bad"],
  cancelled: ["cancelled", "warn"],
};

/** The time line of one effect, as a list. */
export function timeline(effect) {
  const began = Number(effect.created_ms);
  const attempts = Number(effect.attempts);
  const points = [[began, "first taken by a worker", ""], ...(told(effect) ? attempted(effect) : counts(effect, attempts)), last(effect, attempts)];
  if (effect.due_ms && effect.status === "waiting") points.push([Number(effect.due_ms), "is tried again", ""]);
  return h(
    "ol",
    { class: "timeline" },
    points.map(([ms, words, kind]) =>
      h("li", { class: kind }, h("strong", {}, words), " ", ms === null ? "" : [moment(ms), ms > began ? h("span", { class: "dim" }, ` +${span((ms - began) / 1000)}`) : ""]),
    ),
  );
}

/** Whether the times of attempts say more than the first and the last line. */
function told(effect) {
  return effect.attempt_times.length > 1 || effect.attempt_times.some((each) => Number(each.last) > Number(each.attempt) || (each.ended && each.ended !== "settled"));
}

/** A line for each stay at a worker, with its attempts. */
function attempted(effect) {
  const times = effect.attempt_times;
  const unnamed = times.filter((each) => each.ended === "died").length - effect.dead_workers.length;
  const dead = [...Array(Math.max(0, unnamed)).fill("its worker"), ...effect.dead_workers.map((name) => `the worker ${name}`)];
  return times.map((each) => {
    const [began, ended] = [each.began_ms, each.ended_ms].map((ms) => (ms === null ? null : Number(ms)));
    const which = Number(each.last) > Number(each.attempt) ? `attempts ${count(each.attempt)} to ${count(each.last)}` : `attempt ${count(each.attempt)}`;
    const took = began !== null && ended !== null ? `, took ${span((ended - began) / 1000)}` : "";
    const [after, kind] = each.ended === "died" ? [`${dead.shift()} died while it ran`, "bad"] : (AFTER[each.ended] ?? ["", ""]);
    return [began, `${which}${took}${after && `: ${after}`}`, kind];
  });
}

/** What the counts say, where no times of attempts are kept. */
function counts(effect, attempts) {
  const points = [];
  if (Number(effect.former_deaths) || effect.replayed) points.push([null, "was parked, and sent back", "warn"]);
  for (const worker of effect.dead_workers) points.push([null, `the worker ${worker} died while it ran`, "bad"]);
  if (attempts > 1) points.push([null, `${many(attempts - 1, "attempt")} failed and ${attempts > 2 ? "were" : "was"} tried again`, "warn"]);
  return points;
}

function last(effect, attempts) {
  const ended = effect.ended_ms ?? effect.updated_ms;
  const number = attempts ? ` at attempt ${count(attempts)}` : "";
  switch (effect.status) {
    case "completed":
      return [Number(ended), `ended${number}${hasFailed(effect) ? ", as a failure" : ""}`, hasFailed(effect) ? "bad" : "good"];
    case "failed":
      return [Number(ended), `failed${number}${effect.park_reason ? `, and was parked as ${effect.park_reason}` : ""}`, "bad"];
    case "cancelled":
      return [Number(ended), "was cancelled", "warn"];
    case "waiting":
      return [Number(effect.updated_ms), "began to wait", "warn"];
    case "in_progress":
      return [Number(effect.updated_ms), `attempt ${count(attempts || 1)} runs on ${effect.worker ?? "a worker"}`, ""];
    default:
      return [Number(ended), "its payload was pruned", ""];
  }
}
